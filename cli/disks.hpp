// How the verbs that use images as disks open them: by name or option list, with their chain and their passwords.
// Promises: an image that another program may write to is never read halfway through a change, nor written, unless -U
// says so; what can't be opened is told with the name of the file that is to blame.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "cli/arguments.hpp"
#include "cli/creation.hpp"
#include "engine/chain.hpp"

namespace cowvet::cli {

// The options of such a verb, as qemu-img spells them.
struct DiskWords {
  std::vector<std::string> objects;  // --object secret,id=ID,file=FILE
  bool image_options = false;        // --image-opts: images are option lists
  bool force_share = false;          // -U
  std::string source_cache,
      cache;  // -T and -t: accepted; cowvet always asks the kernel's cache, and flushes at the end
  std::string io = "auto";

  // Adds --object, --image-opts and --io; the others where the verb has them.
  void add_to(Arguments& arguments);
  void add_force_share(Arguments& arguments);
  void add_cache(Arguments& arguments);         // -t
  void add_source_cache(Arguments& arguments);  // -T
  [[nodiscard]] base::Result<Secrets> secrets() const;
};

// The password that opens `image`: the secret that its option list names, or else the only one given. Nothing when
// neither is there. Error usage: an option list that makes no sense, or names a secret that was not given.
[[nodiscard]] base::Result<std::optional<std::string>> password_of(const std::string& image,
                                                                   const DiskWords& words);

// How files are opened by name, as `words` say. Errors: in_use when another program may write to what is to be read, or
// uses what is to be written.
[[nodiscard]] engine::OpenFile file_opener(const DiskWords& words);

// What `image` and `options` mean, as `words` say: an option list becomes the file's name, and its format and password
// count.
[[nodiscard]] base::Result<void> settle(std::string& image, const DiskWords& words,
                                        engine::ChainOptions& options);

// Opens `image`, a name or an option list as `words` say, with its chain. `options.format` counts unless the
// option list says another; so does its password: without one, the only secret given opens every layer.
// Errors: in_use when another program may write to it; as engine::open_image() otherwise.
[[nodiscard]] base::Result<std::unique_ptr<engine::OpenImage>> open_disk(std::string image,
                                                                         const DiskWords& words,
                                                                         engine::ChainOptions options);

// The same, showing an internal snapshot: `snapshot` is its id or name, or snapshot.id=ID,snapshot.name=NAME;
// the image as it is when empty.
[[nodiscard]] base::Result<std::unique_ptr<engine::OpenImage>> open_snapshot(const std::string& image,
                                                                             const DiskWords& words,
                                                                             engine::ChainOptions options,
                                                                             const std::string& snapshot);

// Error usage: no cache mode of qemu-img's; an empty one is the default.
[[nodiscard]] base::Result<void> check_cache_mode(const std::string& mode);

// "qcow2", "raw" or empty for probing.
[[nodiscard]] engine::ImageFormat image_format(const std::string& name);

}  // namespace cowvet::cli
