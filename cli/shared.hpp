// Options that several verbs share, and how they open an image.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/info.hpp"
#include "base/result.hpp"
#include "cli/arguments.hpp"
#include "cli/console.hpp"
#include "storage/device.hpp"
#include "storage/file.hpp"

namespace cowvet::cli {

struct Shared {
  std::string format;  // -f: "qcow2", "raw" or empty for probing
  std::string output = "human";
  bool force_share = false;  // -U: somebody else may write to the image, don't warn
  std::string io = "auto";
  bool image_options = false;        // --image-opts: operands are option lists
  std::vector<std::string> objects;  // --object: taken for qemu-img's sake, since no key is needed

  // Adds -U and --io; `add_to` -f as well. `--output` differs from verb to verb; see add_output().
  void add_io(Arguments& arguments);
  void add_to(Arguments& arguments);
  // Turns an operand that is an option list into the file's name; sets `format` as it says.
  [[nodiscard]] base::Result<void> settle(std::string& image);
};

void add_output(Arguments& arguments, std::string& output, std::initializer_list<std::string_view> forms);

[[nodiscard]] analyzer::Format chosen_format(const Shared& shared);

// "FILE: what is wrong: what to do", with the file's name made fit for a terminal; where another program's place is
// taken, in its words (program.hpp).
[[nodiscard]] std::string about(std::string_view file, const base::Error& error);
// The error itself, worded so.
[[nodiscard]] std::unexpected<base::Error> about_file(std::string_view file, base::Error error);

// Opens an image for reading.
[[nodiscard]] base::Result<std::unique_ptr<storage::Device>> open_quietly(const std::string& file,
                                                                          const Shared& shared);
// The same, with warned_in_use().
[[nodiscard]] base::Result<std::unique_ptr<storage::Device>> open_image(const std::string& file,
                                                                        const Shared& shared,
                                                                        Console& console);
// Whether another program may write to the image meanwhile, which is then told on stderr; never with -U.
bool warned_in_use(const std::string& file, const Shared& shared, Console& console);

}  // namespace cowvet::cli
