// The reference: what every image of a chain, and every snapshot, must read as. Promises: each rule is stated in the
// simplest way that is obviously right, on flat arrays, and shares nothing with the engine.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/known_differences.hpp"
#include "model/operation.hpp"

namespace cowvet::model {

// Whether a layer holds a piece itself, so that what lies below does not count.
enum class Held : std::uint8_t { no, yes, unknown };

struct State {  // of a disk, or of a snapshot of it
  std::vector<std::byte> content;
  std::vector<Held> held;  // a piece each; see Setting::piece()
};

struct Snapshot {
  std::string name;
  State state;
};

struct Bitmap {
  std::string name;
  std::uint64_t granularity = 0;  // bytes a bit
  bool enabled = true;
  bool trusted = true;   // otherwise its image was not closed properly since it recorded something
  bool changed = false;  // since the image was opened
  std::vector<bool> marked;
};

struct Layer {
  Setting setting;           // of its making: the disk's size may have changed since
  std::uint64_t backed = 0;  // bytes of the backing file's disk
  bool over_backing = false;
  State disk;
  std::vector<Snapshot> snapshots;  // the oldest first
  std::vector<Bitmap> bitmaps;
  unsigned named = 0;  // snapshots and bitmaps so far

  [[nodiscard]] std::uint64_t size() const { return disk.content.size(); }
  [[nodiscard]] std::string next_snapshot() const;
  [[nodiscard]] std::string next_bitmap() const;
};

// What sequences may contain.
enum class Scope : std::uint8_t {
  all,
  peer,  // only what QEMU does too, and in the same way: known_differences.hpp
};

class Model {
 public:
  Model(std::uint64_t raw_base, const Setting& first, Scope scope = Scope::all);

  // What the operation means here; nothing when it means nothing. Once fitted, it stays as it is.
  // `met` counts the known differences that it would have met.
  [[nodiscard]] std::optional<Operation> fitted(const Operation& operation, KnownCounts* met = nullptr) const;
  // Does a fitted operation.
  void apply(const Operation& operation);
  // The image could not do it, and stays as it was; only bitmaps record what was tried.
  void refuse(const Operation& operation);

  // From the first image to the one that is in use; a raw base is not among them.
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  [[nodiscard]] const Layer& top() const { return layers_.back(); }
  [[nodiscard]] std::uint64_t raw_base() const { return raw_base_; }
  // The image lost what was not stored of this bitmap.
  void distrust(std::size_t bitmap) { layers_.back().bitmaps[bitmap].trusted = false; }

 private:
  [[nodiscard]] std::optional<Operation> possible_here(const Operation& operation) const;
  void add_layer(const Setting& setting, const std::vector<std::byte>* below);

  std::uint64_t raw_base_;
  Scope scope_;
  std::vector<Layer> layers_;
};

}  // namespace cowvet::model
