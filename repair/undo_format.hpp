// The undo file's records. Promises: every byte of the file is covered by a digest, so that a damaged one is told; the
// state changes by writing one sector, which a crash leaves old or new.
//
//   0      text: what the file is, for people
//   3584   the state, one sector, which begins with words as well
//   4096   the header: lengths, counts, digests, the image's name
//   12288  blocks, one behind the other: BlockRecord, a digest of each sector afterwards, the bytes of each sector
//          before (where the kind says so), a digest of all this and of the block before it
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "format/geometry.hpp"
#include "format/record.hpp"

namespace cowvet::repair {

using format::limits::sector;
inline constexpr std::uint64_t state_place = 3584, header_place = 4096, blocks_place = 12288;
inline constexpr std::size_t header_bytes = blocks_place - header_place;
inline constexpr std::size_t name_limit = 4096;        // bytes of the image's name
inline constexpr std::uint32_t most_sectors = 512;     // of a block: 256 KiB
inline constexpr std::uint64_t head_bytes = 64 << 10;  // of the image, which tell it from others

inline constexpr std::size_t digest_bytes = 32, sector_digest_bytes = 16;
using Digest = std::array<std::byte, digest_bytes>;
using SectorDigest = std::array<std::byte, sector_digest_bytes>;

// SHA-256 of the parts, one behind the other.
[[nodiscard]] Digest digest_of(std::initializer_list<base::ConstBytes> parts);
// Of one sector: the first half of its SHA-256.
[[nodiscard]] SectorDigest sector_digest(base::ConstBytes bytes);

struct UndoHeader {
  std::array<std::byte, 8> magic{};
  std::uint32_t version = 0, sector_size = 0;
  std::uint64_t length_before = 0, length_after = 0;
  std::uint32_t block_device = 0, name_length = 0;
  std::uint64_t made = 0, blocks = 0, sectors = 0, saved = 0, file_length = 0;
  Digest chain{}, head{}, text{};
};

struct StateRecord {
  std::array<std::byte, 192> words{};
  std::uint32_t state = 0, reserved = 0;
  std::uint64_t modified_sec = 0, modified_nsec = 0;
  Digest header{};
  std::array<std::byte, 232> padding{};
  Digest digest{};
};

struct BlockRecord {
  std::uint32_t kind = 0, sectors = 0;
  std::uint64_t offset = 0;
};

}  // namespace cowvet::repair

namespace cowvet {

template <>
inline constexpr auto format::layout<repair::UndoHeader> =
    record("undo_header", "cowvet's undo file", field<0, &repair::UndoHeader::magic>("magic", "\"COWVUNDO\""),
           field<8, &repair::UndoHeader::version>("version", "1"),
           field<12, &repair::UndoHeader::sector_size>("sector_size", "512"),
           field<16, &repair::UndoHeader::length_before>("length_before", "of the image, bytes"),
           field<24, &repair::UndoHeader::length_after>("length_after", "of the image, bytes"),
           field<32, &repair::UndoHeader::block_device>("block_device", "1: the image is one"),
           field<36, &repair::UndoHeader::name_length>("name_length",
                                                       "bytes of the image's name, behind the fields"),
           field<40, &repair::UndoHeader::made>("made", "seconds since 1970"),
           field<48, &repair::UndoHeader::blocks>("blocks", "number of blocks"),
           field<56, &repair::UndoHeader::sectors>("sectors", "in all blocks"),
           field<64, &repair::UndoHeader::saved>("saved", "sectors whose bytes are kept"),
           field<72, &repair::UndoHeader::file_length>("file_length", "of the undo file, bytes"),
           field<80, &repair::UndoHeader::chain>("chain", "digest of the last block"),
           field<112, &repair::UndoHeader::head>("head", "digest of the image's first 64 KiB before"),
           field<144, &repair::UndoHeader::text>("text", "digest of the file's text"));

template <>
inline constexpr auto format::layout<repair::StateRecord> = record(
    "undo_state", "cowvet's undo file",
    field<0, &repair::StateRecord::words>("words", "the state for people"),
    field<192, &repair::StateRecord::state>("state", "see UndoState"),
    field<196, &repair::StateRecord::reserved>("reserved", "0"),
    field<200, &repair::StateRecord::modified_sec>("modified_sec", "the image's last change when complete"),
    field<208, &repair::StateRecord::modified_nsec>("modified_nsec", "its nanoseconds"),
    field<216, &repair::StateRecord::header>("header", "digest of the header"),
    field<248, &repair::StateRecord::padding>("padding", "zeros"),
    field<480, &repair::StateRecord::digest>("digest", "of what comes before it"));

template <>
inline constexpr auto format::layout<repair::BlockRecord> =
    record("undo_block", "cowvet's undo file", field<0, &repair::BlockRecord::kind>("kind", "see BeforeKind"),
           field<4, &repair::BlockRecord::sectors>("sectors", "1 to 512"),
           field<8, &repair::BlockRecord::offset>("offset", "in the image, a multiple of 512"));

static_assert(format::disk_size<repair::StateRecord> == repair::sector);

}  // namespace cowvet
