#include "tests/laws/mutations.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <utility>

#include "format/luks.hpp"

namespace cowvet::laws {

namespace {

constexpr std::array list{
    Feature{"plain", "image size=16K cluster_size=512\ndata 0..2,9\n"},
    Feature{"version 2",
            "image version=2 size=16K cluster_size=512\ndata 0..2\nsnapshot id=1 name=a\ndata 1\n"},
    Feature{"zero clusters", "image size=16K cluster_size=512\ndata 0..1\nzero 3\nzero 4 preallocated\n"},
    Feature{"deflate", "image size=16K cluster_size=512\ncompressed 0..3\ndata 5\n"},
    Feature{"zstd", "image size=16K cluster_size=512 compression=zstd\ncompressed 0..3\ndata 5\n"},
    Feature{"subclusters",
            "image size=64K cluster_size=16K extended_l2\nsubclusters 0 allocated=0..3 zero=8..9\ndata "
            "1\nsubclusters 2 zero=0..31\n"},
    Feature{"snapshots",
            "image size=16K cluster_size=512\ndata 0..2\nsnapshot id=1 name=a vm_state=1K\ndata 1\nsnapshot "
            "id=2 name=b\ndata 2\n"},
    Feature{"bitmaps",
            "image size=64K cluster_size=512\ndata 0..2\nbitmap name=b0 granularity=512 set=0..3\nbitmap "
            "name=b1 granularity=1K auto\n"},
    Feature{"luks", "image size=16K cluster_size=512 encryption=luks\ndata 0..2\n"},
    Feature{"backing", "image size=16K cluster_size=512\nbacking \"b.raw\" format=raw\ndata 0..2\nzero 4\n"},
    Feature{"data file", "image size=16K cluster_size=512\ndatafile \"d.raw\"\ndata 0..2\n"},
    Feature{"1-bit refcounts", "image size=16K cluster_size=512 refcount_bits=1\ndata 0..2\n"},
    Feature{"2-bit refcounts",
            "image size=16K cluster_size=512 refcount_bits=2\ndata 0..2\nsnapshot id=1 name=a\ndata 1\n"},
    Feature{"8-bit refcounts", "image size=16K cluster_size=512 refcount_bits=8\ndata 0..2\n"},
    Feature{"64-bit refcounts", "image size=16K cluster_size=512 refcount_bits=64\ndata 0..2\n"},
};

// Key material is content, not metadata: of a LUKS header the fields, and a few words of the first key.
std::uint64_t considered(const corpus::NamedRegion& region) {
  return region.kind == corpus::Kind::luks ? format::luks_header_size + 64 : region.region.length;
}

std::uint64_t word(const storage::MemoryDevice& image, std::uint64_t at) {
  return base::load_be<std::uint64_t, 0>(
      *base::prefix<8>(base::ConstBytes(image.bytes()).subspan(static_cast<std::size_t>(at))));
}

void store(storage::MemoryDevice& image, std::uint64_t at, std::uint64_t value) {
  std::array<std::byte, 8> bytes;
  base::store_be<std::uint64_t, 0>(std::span<std::byte, 8>(bytes), value);
  (void)image.write(at, bytes);  // within what is there: memory does not fail
}

}  // namespace

std::span<const Feature> features() { return list; }

std::string structure_of(corpus::Kind kind) {
  constexpr std::array names{
      "header",      "extension",      "backing name", "refcount table", "refcount block",   "L1",
      "L2",          "snapshot table", "snapshot L1",  "snapshot L2",    "bitmap directory", "bitmap table",
      "bitmap data", "LUKS header",    "reserved"};
  return names[static_cast<std::size_t>(kind)];
}

void for_each_mutation(const corpus::Layout& layout, storage::MemoryDevice& image,
                       const std::function<void(const Mutation&)>& look) {
  std::set<std::uint64_t> done;
  for (const auto& region : layout.regions()) {
    if (region.kind == corpus::Kind::reserved) continue;
    const std::uint64_t first = region.region.offset & ~std::uint64_t{7};
    const std::uint64_t end =
        std::min<std::uint64_t>(region.region.offset + considered(region), image.size());
    std::size_t zero_words = 0;
    for (std::uint64_t at = first; at + 8 <= end; at += 8) {
      const std::uint64_t old = word(image, at);
      if (old == 0 && region.kind != corpus::Kind::header && ++zero_words > 4) continue;
      if (!done.insert(at).second) continue;
      const auto change = [&](const char* name, std::uint64_t value) {
        store(image, at, value);
        look({region, at, name, old, value});
        store(image, at, old);
      };
      for (int bit = 0; bit < 64; ++bit) change("bit", old ^ (1ULL << bit));
      const std::uint64_t random = std::mt19937_64(at)();
      for (const auto& [name, value] : {std::pair{"zero", std::uint64_t{0}},
                                        {"ones", ~std::uint64_t{0}},
                                        {"top", old ^ (1ULL << 63)},
                                        {"middle", old ^ (1ULL << 32)},
                                        {"low", old ^ 1},
                                        {"+512", old + 512},
                                        {"-512", old - 512},
                                        {"random", random}})
        if (value != old) change(name, value);
    }
  }
}

}  // namespace cowvet::laws
