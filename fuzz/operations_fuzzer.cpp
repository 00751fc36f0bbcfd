// Sequences of operations on a small tree of images in memory. Promises: whatever is done in whatever order,
// the engine agrees with the flat model after each operation, and the check finds nothing in the closed
// image. The input: the first image's options, then operations.
#include <array>

#include "fuzz/require.hpp"
#include "model/examine.hpp"

namespace cowvet::fuzz {
namespace {

using namespace model;

constexpr std::size_t most_operations = 32;
constexpr std::uint64_t most_bytes = 48 << 10;  // of a disk

class Reader {
 public:
  explicit Reader(base::ConstBytes input) : cursor_(input) {}
  [[nodiscard]] bool empty() const { return cursor_.rest().empty(); }
  // Zeros behind the input's end.
  std::uint8_t byte() {
    const auto taken = cursor_.take(1);
    return taken ? std::to_integer<std::uint8_t>(taken->front()) : std::uint8_t{0};
  }
  std::uint64_t number() { return byte() * 256ULL + byte(); }
  // Mostly whole sectors.
  std::uint64_t place() {
    const std::uint64_t n = number();
    return (n & 1) != 0 ? n >> 1 : (n >> 1) * 512;
  }
  Range range() {
    const std::uint64_t at = place();
    return {at, place() % (most_bytes / 2) + 1};
  }
  Fill fill() {
    const unsigned kind = byte();
    return {static_cast<Fill::Kind>(kind % 3), static_cast<std::uint8_t>(kind / 3)};
  }
  Setting setting();

 private:
  base::Cursor cursor_;
};

Setting Reader::setting() {
  constexpr std::array<std::uint64_t, 4> clusters{512, 1024, 4096, 16384};
  const unsigned a = byte();
  const unsigned b = byte();
  Setting s{.version = (a & 7) == 0 ? 2U : 3U,
            .cluster_size = clusters[a >> 3 & 3],
            .refcount_bits = 1U << (a >> 5) % 7,
            .lazy_refcounts = (b & 1) != 0,
            .extended_l2 = (b & 2) != 0,
            .compression = static_cast<format::Compression>(b >> 2 & 1),
            .preallocation = static_cast<engine::Preallocation>((b & 8) != 0 ? b >> 4 & 3 : 0)};
  const unsigned c = byte();
  s.data_file = static_cast<DataFile>((c & 3) == 3 ? 0 : c & 3);
  if ((c & 0x1c) == 4) s.encryption = format::CryptMethod::aes;
  s.size = place() % most_bytes;
  return s;
}

Operation read_operation(Reader& in) {
  const unsigned kind = in.byte();
  const bool flag = (kind & 0x80) != 0;
  switch (kind % 32) {
    case 0:
    case 1: return WriteCompressed{in.range(), in.fill()};
    case 3:
    case 4:
    case 5:
    case 6: return Zero{in.range(), flag};
    case 7:
    case 8:
    case 9: return Discard{in.range()};
    case 10:
    case 11: return Flush{};
    case 12: return Reopen{flag};
    case 13:
    case 14: return CreateSnapshot{};
    case 15:
    case 16: return ApplySnapshot{in.byte()};
    case 17: return RemoveSnapshot{in.byte()};
    case 18:
    case 19: return Resize{in.place() % most_bytes, static_cast<engine::Preallocation>(in.byte() & 3)};
    case 20: return AddBitmap{in.place(), flag};
    case 21: return RemoveBitmap{in.byte()};
    case 22: return ClearBitmap{in.byte()};
    case 23: return EnableBitmap{in.byte(), flag};
    case 24: {
      const auto setting = in.setting();
      return AddOverlay{setting, flag ? in.byte() : 0U};
    }
    case 25: return Use{in.byte()};
    case 26: return Commit{in.byte() & 7U, in.byte() & 7U};
    case 27: return Rebase{in.byte(), flag};
    case 28: return Pull{in.byte() & 7U, in.byte() & 7U};
    case 29: return RemoveLayer{in.byte() & 7U, flag};
    default: return Write{in.range(), in.fill()};
  }
}

void run(base::ConstBytes input) {
  Reader in(input);
  Sequence sequence;
  const unsigned base = in.byte();
  sequence.raw_base = (base & 3) == 0 ? base * 199ULL : 0;
  sequence.first = in.setting();
  while (!in.empty() && sequence.operations.size() < most_operations)
    sequence.operations.push_back(read_operation(in));
  const auto outcome = examine(sequence, {.check_every = 0});
  require(!outcome.disagreement, outcome.disagreement ? outcome.disagreement->what.c_str() : "");
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
