// The engine under examination: a chain of images in memory, to which operations are done as to the model's. Promises:
// nothing is judged here; an operation's error is handed on as it is.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "engine/chain.hpp"
#include "model/model.hpp"
#include "storage/memory.hpp"

namespace cowvet::model {

// The names of a chain's files, here and in scripts.
inline constexpr const char* raw_base_name = "base.raw";
[[nodiscard]] std::string image_name(std::size_t layer);
[[nodiscard]] std::string data_file_name(std::size_t layer);

class EngineChain {
 public:
  using Files = std::map<std::string, storage::MemoryDevice>;

  // The raw backing file, if the model has one, and the first image.
  [[nodiscard]] base::Result<void> start(const Model& model);
  // Does a fitted operation that `model` has not done yet. Error limit: the image can't count so many owners.
  [[nodiscard]] base::Result<void> perform(const Operation& operation, const Model& model);
  // The top, closed or not; what was not flushed is gone.
  [[nodiscard]] base::Result<void> open();

  [[nodiscard]] engine::Qcow2Disk& disk() { return *top_->qcow2(); }
  [[nodiscard]] const Files& files() const { return files_; }

 private:
  [[nodiscard]] base::Result<void> add_image(const Setting& setting, const std::string& below);

  Files files_;
  std::string name_;  // of the top
  std::unique_ptr<engine::OpenImage> top_;
};

}  // namespace cowvet::model
