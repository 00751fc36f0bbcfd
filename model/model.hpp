// The reference: what every image of a tree, and every snapshot, must read as. Promises: each rule is stated in the
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
  std::vector<bool> perhaps = std::vector<bool>(marked.size());  // bits that may be set as well
};

struct Layer {
  std::string name;                  // of its file
  bool raw = false;                  // a file of plain bytes; it has a size and content only
  std::optional<std::size_t> below;  // the number of its backing file
  bool valid = true;                 // otherwise it is given up, or what lies below it was changed
  Setting setting;                   // of its making: the disk's size may have changed since
  std::uint64_t backed = 0;          // bytes of the backing file's disk
  bool over_backing = false;
  std::string data_file;  // empty: there is none
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
  verbs,  // only what ends the same way whenever programs do it: each closes the image, no count may reach its limit, what
          // was allocated is known; trees have no encrypted images
  peer,   // of that, what QEMU does too, and in the same way: known_differences.hpp
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

  // All images that were ever made, each behind what lies below it; a raw base is the first one.
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  [[nodiscard]] std::size_t used() const { return used_; }
  [[nodiscard]] const Layer& top() const { return layers_[used_]; }  // the one in use
  // The numbers of the image and all below it, from the top.
  [[nodiscard]] std::vector<std::size_t> chain_of(std::size_t image) const;
  [[nodiscard]] bool lies_below(std::size_t image, std::size_t other) const;
  // Valid images right above it.
  [[nodiscard]] std::vector<std::size_t> overlays_of(std::size_t image) const;
  // What the next image will be called.
  [[nodiscard]] std::string next_image() const;
  [[nodiscard]] std::string next_data_file() const;
  // The image lost what was not stored of this bitmap.
  void distrust(std::size_t bitmap) { layers_[used_].bitmaps[bitmap].trusted = false; }
  // Images that look at something else below them after a fitted operation: where snapshots in them hold nothing, these
  // show it.
  [[nodiscard]] std::vector<std::size_t> moved_by(const Operation& operation) const;
  // What the image's disk, or a snapshot in it, holds where that was unknown is known now.
  void learn(std::size_t image, std::optional<std::size_t> snapshot, const std::vector<Held>& held);

 private:
  [[nodiscard]] std::optional<Operation> possible_here(const Operation& operation) const;
  void add_layer(const Setting& setting, std::optional<std::size_t> below);
  [[nodiscard]] Layer& used_layer() { return layers_[used_]; }

  // model/tree.cpp
  [[nodiscard]] std::optional<Operation> fitted_overlay(AddOverlay o) const;
  [[nodiscard]] std::optional<Operation> fitted_use(Use o) const;
  [[nodiscard]] std::optional<Operation> fitted_commit(Commit o) const;
  [[nodiscard]] std::optional<Operation> fitted_rebase(Rebase o) const;
  [[nodiscard]] std::optional<Operation> fitted_pull(Pull o) const;
  [[nodiscard]] std::optional<Operation> fitted_removal(RemoveLayer o) const;
  [[nodiscard]] std::size_t valid_near(std::uint32_t number) const;
  // Programs do it differently when snapshots would show something else: some ask, some don't.
  [[nodiscard]] bool asks(const Layer& layer) const {
    return scope_ != Scope::all && !layer.snapshots.empty();
  }
  [[nodiscard]] bool can_commit(const std::vector<std::size_t>& chain, std::size_t top,
                                std::size_t base) const;
  void commit(const std::vector<std::size_t>& chain, std::size_t top, std::size_t base);
  void rebase(std::size_t image, std::optional<std::size_t> onto);
  void rename(std::size_t image, std::optional<std::size_t> onto);
  void pull(std::size_t image, std::optional<std::size_t> base);
  void remove_layer(const RemoveLayer& o);
  void stand_on(std::size_t image, std::optional<std::size_t> below);
  // The same for the snapshots in it.
  void show_through_snapshots(std::size_t image, std::optional<std::size_t> below);
  // What the image would show where it holds nothing.
  [[nodiscard]] std::vector<std::byte> shown_below(std::size_t image, std::optional<std::size_t> below) const;

  Scope scope_;
  std::vector<Layer> layers_;
  std::size_t used_ = 0;
};

}  // namespace cowvet::model
