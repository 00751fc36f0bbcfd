// The engine under examination: a tree of images in memory, to which operations are done as to the model's. Promises:
// nothing is judged here; an operation's error is handed on as it is.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "engine/chain.hpp"
#include "engine/chain_edit.hpp"
#include "model/model.hpp"
#include "storage/memory.hpp"

namespace cowvet::model {

class EngineChain {
 public:
  using Files = std::map<std::string, storage::MemoryDevice>;

  // The raw backing file, if the model has one, and the first image.
  [[nodiscard]] base::Result<void> start(const Model& model);
  // Does a fitted operation that `model` has not done yet. Error limit: the image can't count so many owners.
  [[nodiscard]] base::Result<void> perform(const Operation& operation, const Model& model);
  // The image in use, closed or not; what was not flushed is gone.
  [[nodiscard]] base::Result<void> open();
  // Any other one, for reading.
  [[nodiscard]] base::Result<std::unique_ptr<engine::OpenImage>> look_at(const std::string& name);

  [[nodiscard]] engine::Qcow2Disk& disk() { return *top_->qcow2(); }
  [[nodiscard]] const Files& files() const { return files_; }
  // Whether the last operation on the tree told beforehand that snapshots may show something else.
  [[nodiscard]] bool warned() const { return warned_; }

 private:
  [[nodiscard]] base::Result<void> add_image(const Setting& setting, const std::string& data_file,
                                             const Layer* below);
  [[nodiscard]] base::Result<void> on_tree(const Operation& operation, const Model& model);
  [[nodiscard]] base::Result<void> finish(base::Result<std::unique_ptr<engine::ChainEdit>> edit);
  [[nodiscard]] base::Result<void> commit(const std::string& active, const std::string& top,
                                          const std::string& base);
  [[nodiscard]] base::Result<void> rebase(const std::string& image, const Layer* onto, bool safe);
  [[nodiscard]] base::Result<void> pull(const std::string& image, const Layer* base);
  [[nodiscard]] engine::OpenFile opener();

  Files files_;
  std::string name_;  // of the image in use
  std::unique_ptr<engine::OpenImage> top_;
  bool warned_ = false;
};

}  // namespace cowvet::model
