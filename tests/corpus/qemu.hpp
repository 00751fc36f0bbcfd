// Asks the installed qemu-img about a built image. Promises: files live in a folder of their own that goes with the
// object; a program that is not installed is said, so that a test can skip visibly.
#pragma once
#include <string>

#include "corpus/builder/recipe.hpp"

namespace cowvet::corpus::testing {

struct Outcome {
  int status = -1;     // exit code
  std::string output;  // standard output and error
};

class Workshop {
 public:
  Workshop();
  ~Workshop();
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;
  [[nodiscard]] const std::string& folder() const { return folder_; }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  // Runs a shell command in the folder.
  [[nodiscard]] Outcome run(const std::string& command) const;

 private:
  std::string folder_;
};

[[nodiscard]] bool have_qemu();

// Builds nothing, believes nothing: saves the image, runs `qemu-img check` on it and reads each layer back. The answer
// is empty when qemu-img finds no fault and every byte is the one that the builder says; else it says what is wrong.
[[nodiscard]] std::string judge(const BuiltImage& image);

}  // namespace cowvet::corpus::testing
