// Reading one mapping: the active disk or a snapshot's. Promises: safe from several threads at once;
// neighbouring clusters become one access of the device; what can't be read is an error with its place, never
// zeros.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cipher.hpp"
#include "engine/disk.hpp"
#include "engine/slot.hpp"
#include "engine/stream_cache.hpp"
#include "format/compression.hpp"

namespace cowvet::engine {

// A run of guest bytes from one source.
struct Run {
  Source source = Source::below;
  std::uint64_t length = 0;
  std::optional<base::HostOffset> host = {};  // of the first byte: data, or merely reserved
  format::L2Entry entry = {};                 // compressed: the whole cluster's
};

// What all mappings of an image share.
struct ReadContext {
  SlotRules rules;
  format::Compression codec = format::Compression::deflate;
  format::CryptMethod crypt = format::CryptMethod::none;
  const TableCache* tables = nullptr;
  const Medium* image = nullptr;
  StreamCache* streams = nullptr;
  const Medium* data = nullptr;  // null: the external data file was not given
  std::shared_ptr<const Cipher> cipher = nullptr;
  std::shared_ptr<const Disk> backing = nullptr;
};

class LayerReader {
 public:
  // `l1` may change while the reader lives, but not during a read.
  LayerReader(const ReadContext& context, const std::vector<std::uint64_t>& l1) : c_(context), l1_(l1) {}

  // A run from `at` on, within `most` bytes; it need not be the longest.
  [[nodiscard]] base::Result<Run> find(std::uint64_t at, std::uint64_t most) const;
  // `visible`: the layer's disk size; what lies below is not seen behind it (there is VM state).
  [[nodiscard]] base::Result<void> read(std::uint64_t at, base::MutableBytes into,
                                        std::uint64_t visible) const;
  [[nodiscard]] base::Result<Extent> extent(std::uint64_t at, std::uint64_t most) const;
  // Whether the range reads as zeros, as far as that is known without reading.
  [[nodiscard]] base::Result<bool> known_zero(std::uint64_t at, std::uint64_t length,
                                              std::uint64_t visible) const;

  // Reads a run of plain data clusters: of guest bytes from `guest`, lying at `host`.
  [[nodiscard]] base::Result<void> decrypt(std::uint64_t guest, std::uint64_t host,
                                           base::MutableBytes bytes) const;

 private:
  struct Piece {  // of a read under way
    std::uint64_t guest;
    Run run;
    base::MutableBytes into;
  };
  [[nodiscard]] base::Result<TablePointer> table(std::uint64_t l1_index) const;
  [[nodiscard]] base::Result<void> read_below(std::uint64_t at, base::MutableBytes into,
                                              std::uint64_t visible) const;
  [[nodiscard]] base::Result<void> read_data(std::span<const Piece> pieces) const;
  // `pieces` is left empty.
  [[nodiscard]] base::Result<void> read_compressed(std::vector<Piece>& pieces) const;

  const ReadContext& c_;
  const std::vector<std::uint64_t>& l1_;
};

// The sector number by which a cipher counts.
[[nodiscard]] inline std::uint64_t cipher_sector(format::CryptMethod method, std::uint64_t guest,
                                                 std::uint64_t host) {
  return (method == format::CryptMethod::aes ? guest : host) / format::limits::sector;
}

}  // namespace cowvet::engine
