// An image as well as it can be understood: its header, or the one that its content tells; its tables as they
// are, and as they are most likely meant. Promises: the image is only read; what was inferred can be told
// from what stands there.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/cipher.hpp"
#include "format/extensions.hpp"
#include "repair/salvage.hpp"
#include "repair/view.hpp"

namespace cowvet::repair {

struct UnderstandOptions {
  std::string path = {};                       // of the image, for relative names; may be empty
  const storage::Device* data_file = nullptr;  // the external one
  bool assume_qcow2 = false;
  unsigned jobs = 0;
};

class Understood {
 public:
  // Errors: wrong_format, when nothing of a qcow2 image is found; cancelled; limits of this machine.
  [[nodiscard]] static base::Result<std::unique_ptr<Understood>> open(const storage::Device& image,
                                                                      const UnderstandOptions& options,
                                                                      base::Progress& progress);

  Understood(const Understood&) = delete;
  Understood& operator=(const Understood&) = delete;
  ~Understood();

  [[nodiscard]] Readable readable() const { return {*best_, plain_ ? &*plain_ : nullptr}; }
  [[nodiscard]] const View& best() const { return *best_; }
  // What was inferred to understand it, a sentence each.
  [[nodiscard]] const std::vector<std::string>& inferences() const { return inferences_; }

  // Raw bytes, as the header's extensions name them.
  [[nodiscard]] const std::optional<std::string>& backing_name() const { return backing_name_; }
  [[nodiscard]] const std::optional<std::string>& backing_format() const { return backing_format_; }
  [[nodiscard]] bool encrypted() const { return best_->header().v2.crypt_method != 0; }
  // The cipher of its data. Error usage: the secret does not open it, or its LUKS header can't be read.
  [[nodiscard]] base::Result<std::shared_ptr<const engine::Cipher>> cipher(std::string_view secret) const;

 private:
  struct Plan;  // the repair that was done in memory
  Understood();
  void read_names();

  std::unique_ptr<Plan> plan_;
  const storage::Device* device_ = nullptr;  // of `best_`
  std::optional<View> best_, plain_;
  std::vector<std::string> inferences_;
  std::optional<std::string> backing_name_, backing_format_;
  std::optional<format::EncryptionExtension> encryption_;
};

}  // namespace cowvet::repair
