// Chains of images in memory, by name: what is done to all their files can be recorded in one order, and any
// state of them be put back.
#pragma once
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/chain.hpp"
#include "engine/create.hpp"
#include "storage/memory.hpp"
#include "storage/recorder.hpp"

namespace cowvet::engine::testing_images {

class ChainFiles {
 public:
  using State = std::map<std::string, std::vector<std::byte>>;
  struct Change {
    std::string file;
    storage::Event event;
  };

  ChainFiles() = default;
  explicit ChainFiles(const State& state) { put(state); }

  // Names are opened as they are; the devices must not outlive this.
  [[nodiscard]] OpenFile open();
  [[nodiscard]] std::unique_ptr<OpenImage> image(const std::string& name, ChainOptions options = {});
  // The disk's bytes, through the chain.
  [[nodiscard]] std::vector<std::byte> content(const std::string& name, const ChainOptions& options = {});

  void make_raw(const std::string& name, std::vector<std::byte> bytes);
  void make(const std::string& name, const CreateOptions& options);

  [[nodiscard]] State state() const;
  void put(const State& state);
  [[nodiscard]] bool has(const std::string& name) const { return files_.contains(name); }
  [[nodiscard]] const storage::MemoryDevice& file(const std::string& name) const { return *files_.at(name); }

  void record() { recording_ = true; }
  [[nodiscard]] const std::vector<Change>& changes() const { return changes_; }

 private:
  std::map<std::string, std::unique_ptr<storage::MemoryDevice>> files_;
  std::vector<Change> changes_;
  bool recording_ = false;
};

// The files after these changes: of what was done to a file behind its last flush, only what is `kept`.
[[nodiscard]] ChainFiles::State replay(ChainFiles::State state, std::span<const ChainFiles::Change> changes,
                                       const std::function<bool(std::size_t)>& kept);

// What images of a generated chain may be like.
struct Variety {
  std::size_t layers = 4;      // with the lowest
  bool raw_base = false;       // the lowest layer is raw
  bool small = false;          // clusters of 512 bytes, no encryption: for many states of them
  std::string secret = "key";  // of encrypted layers
};
// Makes layers "l0" (the lowest) to "lN" of different clusters, versions and sizes, with data files and
// encryption, each with some writes, zeros, discards and compressed clusters. All of them open with `secret`.
void make_chain(ChainFiles& files, std::mt19937& random, const Variety& variety);
[[nodiscard]] inline std::string layer_name(std::size_t number) { return "l" + std::to_string(number); }

}  // namespace cowvet::engine::testing_images
