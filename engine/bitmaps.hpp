// Persistent dirty bitmaps. Promises: before the first change that a bitmap must record, the file says that
// it is in use; it says otherwise again only when the bitmap was stored whole. A bitmap found in use is kept,
// and never believed.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "engine/changes.hpp"
#include "engine/image.hpp"
#include "format/bitmap.hpp"

namespace cowvet::engine {

class Bitmaps {
 public:
  Bitmaps(Image& image, Changes& changes) : image_(image), changes_(changes) {}

  // Reads the directory; stale bitmaps (the autoclear bit is clear, or version 2) are as good as none.
  [[nodiscard]] base::Result<void> load();
  [[nodiscard]] std::vector<BitmapInfo> list() const;

  // Before a guest change: enabled bitmaps are read and put in use.
  [[nodiscard]] base::Result<void> begin();
  // The guest changed this range.
  void mark(std::uint64_t at, std::uint64_t length);
  // Before the disk changes its size: all bitmaps are read and put in use. Error usage: one that can't follow.
  [[nodiscard]] base::Result<void> begin_resize();
  void resize(std::uint64_t size);
  // Stores what changed and puts the bitmaps out of use; durable when it returns.
  [[nodiscard]] base::Result<void> store();

  [[nodiscard]] base::Result<void> add(std::string_view name, std::uint64_t granularity, bool enabled);
  [[nodiscard]] base::Result<void> remove(std::string_view name);
  [[nodiscard]] base::Result<void> clear(std::string_view name);
  [[nodiscard]] base::Result<void> enable(std::string_view name, bool enabled);
  [[nodiscard]] base::Result<void> merge(std::string_view name, Bitmaps& source, std::string_view from);
  // All that the bitmaps own in the file.
  [[nodiscard]] base::Result<void> each_cluster(const std::function<void(Clusters)>& visit) const;
  [[nodiscard]] base::Result<bool> marked(std::string_view name, std::uint64_t at, std::uint64_t length);

 private:
  using Bits = std::vector<std::byte>;  // bit i is bit i % 8 of byte i / 8
  struct Bitmap {
    format::Bitmap record;      // as in the file, but for flags
    std::uint64_t covers = 0;   // bytes of disk
    bool found_in_use = false;  // when the image was opened
    bool loaded = false;
    Bits bits;
    bool claimed = false;  // in use by us, durably

    [[nodiscard]] bool enabled() const { return (record.entry.flags & format::bitmap_auto) != 0; }
    [[nodiscard]] bool usable() const;
    [[nodiscard]] std::uint64_t size() const;  // bits
  };

  [[nodiscard]] base::Result<Bitmap*> find(std::string_view name, bool to_use);
  [[nodiscard]] base::Result<void> load_bits(Bitmap& bitmap) const;
  // The bitmap table's entries. Error: not in the file whole.
  [[nodiscard]] base::Result<std::vector<std::uint64_t>> table_of(const Bitmap& bitmap) const;
  // Sets the in-use flags of these in the file, durably.
  [[nodiscard]] base::Result<void> claim(const std::vector<Bitmap*>& list);
  // Writes the bits to clusters of their own or new ones, and a new table; what is superfluous then goes to `old`.
  [[nodiscard]] base::Result<void> place_bits(Bitmap& bitmap, std::vector<Clusters>& old);
  // Makes `bitmaps_` the image's bitmaps, in one step and durably; then `old` has no owner any more.
  [[nodiscard]] base::Result<Clusters> place(base::ConstBytes bytes);
  void give_back(std::size_t from);
  [[nodiscard]] base::Result<void> exchange_directory(std::vector<Clusters> old);
  [[nodiscard]] base::Result<void> switch_directory(std::vector<Clusters> old);
  void remember_table(Clusters table);
  static void set_bits(Bitmap& bitmap, std::uint64_t at, std::uint64_t length);

  Image& image_;
  Changes& changes_;
  std::vector<Bitmap> bitmaps_;
  Clusters directory_;
  std::vector<std::uint64_t>
      exchanged_;  // host offsets of clusters of tables that the next directory brings or drops
  std::vector<Clusters> placed_;  // counted, without an owner until the next directory is in the file
  bool begun_ = false;
};

}  // namespace cowvet::engine
