// The operations and configurations whose sequences are explored. Promises: an operation means something in every
// configuration, or is refused there with the image unchanged; doing one again after a crash completes it.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/qcow2_disk.hpp"
#include "storage/recorder.hpp"

namespace cowvet::crash {

struct Configuration {
  std::string name, recipe;
  bool backing = false;
};
[[nodiscard]] std::vector<Configuration> configurations();

// An image that is open for writing.
class Session {
 public:
  Session(storage::Device& device, bool backing);
  [[nodiscard]] base::Result<void> open(bool writable);
  [[nodiscard]] engine::Qcow2Disk& disk() { return *disk_; }
  [[nodiscard]] bool is_open() const { return disk_ != nullptr; }
  void forget() { disk_.reset(); }

 private:
  storage::Device& device_;
  std::shared_ptr<const engine::Disk> backing_;
  std::unique_ptr<engine::Qcow2Disk> disk_;
};

struct Operation {
  std::string name;
  std::function<base::Result<void>(Session&)> perform;
  bool flushes = false;  // what was done before is durable when it returns
};
[[nodiscard]] std::vector<Operation> operations();

}  // namespace cowvet::crash
