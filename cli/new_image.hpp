// Making the files of a new image, for the verbs that do. Promises: a file that was there is emptied only
// when everything else is known to be right, and while nobody uses it; what could not be finished is not left
// behind.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "cli/creation.hpp"
#include "engine/create.hpp"
#include "storage/device.hpp"
#include "storage/file.hpp"

namespace cowvet::cli {

// A new image by name, and what is asked of it.
struct NewImage {
  std::string file, format = "raw";
  bool unsafe_backing = false;        // the backing file may be missing
  std::string_view unsafe_hint = {};  // how to ask for that, where the verb can be asked
  storage::FileOptions opening = {};
};

// The files that were made: removed, unless all went well. Those that were there before are emptied instead.
class NewFiles {
 public:
  NewFiles() = default;
  NewFiles(const NewFiles&) = delete;
  NewFiles& operator=(const NewFiles&) = delete;
  ~NewFiles();

  [[nodiscard]] base::Result<std::unique_ptr<storage::Device>> make(const std::string& file,
                                                                    const storage::FileOptions& options);
  void keep() { made_.clear(); }

 private:
  struct Made {
    std::string file;
    bool is_new = false;
  };
  std::vector<Made> made_;
};

struct NewDevices {
  std::unique_ptr<storage::Device> image, data;  // `data`: the external data file, when there is one
};

// Whether both names lead to one file.
[[nodiscard]] bool same_file(const std::string& one, const std::string& other);

// Looks at the backing file that `words` name, as far as it must be right; its size counts when none was given.
[[nodiscard]] base::Result<void> consider_backing(const NewImage& image, CreationWords& words);

// Makes the image. Errors are about the image but where another file's name is in them.
[[nodiscard]] base::Result<NewDevices> make_image(NewFiles& files, const NewImage& image,
                                                  const engine::CreateOptions& options,
                                                  base::Progress& progress);

}  // namespace cowvet::cli
