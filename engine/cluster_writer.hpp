// Changes of guest data: writes, zeros, discards, compressed clusters. Promises: data lies in its cluster
// before anything names it; what a snapshot or another layer still shows is never overwritten; after an error
// each byte reads as before or as asked for.
#pragma once
#include <cstdint>

#include "engine/changes.hpp"
#include "engine/disk.hpp"
#include "engine/image.hpp"

namespace cowvet::engine {

// The part of the guest's addresses that a change belongs to: the disk, or the VM state behind it.
struct Area {
  std::uint64_t end = 0;      // what lies behind is no part of the content
  std::uint64_t visible = 0;  // up to here the backing file shows through
};

class ClusterWriter {
 public:
  ClusterWriter(Image& image, Changes& changes) : image_(image), changes_(changes), rules_(image.rules) {}

  [[nodiscard]] Area disk() const { return {image_.size(), image_.size()}; }

  [[nodiscard]] base::Result<void> write(std::uint64_t at, base::ConstBytes bytes, const Area& area);
  [[nodiscard]] base::Result<void> zero(std::uint64_t at, std::uint64_t length, Unmap unmap,
                                        const Area& area);
  [[nodiscard]] base::Result<void> discard(std::uint64_t at, std::uint64_t length, const Area& area);
  // Gives up every cluster from the guest cluster that holds `from`, or from the next one, to `end`: nothing is mapped
  // there afterwards.
  [[nodiscard]] base::Result<void> give_up(std::uint64_t from, std::uint64_t end);
  // Stores a stream that decodes to the whole cluster at `at`.
  [[nodiscard]] base::Result<void> write_stream(std::uint64_t at, base::ConstBytes stream);
  // Maps the unmapped clusters that begin in [from, end) to new ones behind the file's end, which read as zeros. Error
  // cancelled when `progress` asks for it: a part is mapped then.
  [[nodiscard]] base::Result<void> preallocate(std::uint64_t from, std::uint64_t end, Preallocation mode,
                                               base::Progress* progress);

 private:
  // A guest cluster that a change is about.
  struct Place {
    TablePointer table;
    std::uint64_t index = 0;  // in the table
    std::uint64_t guest = 0;  // of the cluster's first byte
    Slot slot;
  };
  [[nodiscard]] base::Result<Place> place(const TablePointer& table, std::uint64_t at) const;
  [[nodiscard]] bool is_private(const Slot& slot) const {
    return rules_.host(slot) && (rules_.data_file || slot.entry.copied());
  }
  // A mask of the pieces that [at, at + length) touches within its cluster.
  [[nodiscard]] std::uint32_t touched(std::uint64_t at, std::uint64_t length) const;
  [[nodiscard]] bool in_place(const Place& p, std::uint64_t at, std::uint64_t length) const;

  // Each writes a part of what begins at `at` and lies behind one L2 table, and says how much.
  [[nodiscard]] base::Result<std::uint64_t> write_in_place(const Place& first, std::uint64_t at,
                                                           base::ConstBytes bytes, const Area& area);
  [[nodiscard]] base::Result<std::uint64_t> write_whole(const Place& first, base::ConstBytes bytes,
                                                        const Area& area);
  [[nodiscard]] base::Result<std::uint64_t> write_part(const Place& p, std::uint64_t at,
                                                       base::ConstBytes bytes, const Area& area);
  [[nodiscard]] base::Result<void> zero_clusters(std::uint64_t at, std::uint64_t end, Unmap unmap);
  [[nodiscard]] base::Result<void> zero_pieces(std::uint64_t at, std::uint64_t length, const Area& area);
  [[nodiscard]] base::Result<void> write_zeros(std::uint64_t at, std::uint64_t length, const Area& area);

  // Adjacent clusters for the guest clusters from `guest` on.
  [[nodiscard]] base::Result<Clusters> hosts(std::uint64_t guest, std::uint64_t most);
  void give_back(Clusters clusters);
  // Writes guest bytes to their host place, encrypted if the image is.
  [[nodiscard]] base::Result<void> store(std::uint64_t guest, std::uint64_t host, base::ConstBytes bytes,
                                         const Area& area);
  [[nodiscard]] base::Result<void> cover(std::uint64_t host_end);

  Image& image_;
  Changes& changes_;
  const SlotRules& rules_;
};

}  // namespace cowvet::engine
