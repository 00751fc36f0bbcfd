#include "fuzz/mutator.hpp"

#include <algorithm>
#include <array>
#include <random>

#include "fuzz/structures.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t room);

namespace cowvet::fuzz {

namespace {

using Random = std::minstd_rand;

constexpr std::size_t most_pieces = 256;  // each read of the image looks through them

template <class List>
const auto& one_of(const List& list, Random& random) {
  return list[random() % list.size()];
}

std::uint64_t ones(int bits) { return ~std::uint64_t{0} >> (64 - bits); }

// A value for a field of `bits` bits that holds `now`; `other` is what a neighbour holds, `pointer` where another
// structure lies, both as they would stand in the field.
std::uint64_t hurtful(std::uint64_t now, int bits, std::uint64_t other, std::uint64_t pointer,
                      std::uint64_t cluster, Random& random) {
  const std::array<std::uint64_t, 15> choices{
      0,
      ones(bits),
      std::uint64_t{1} << (bits - 1),
      ones(bits) >> 1,
      now ^ (std::uint64_t{1} << (random() % static_cast<unsigned>(bits))),
      now + 1,
      now - 1,
      now + 512,
      now - 512,
      now + cluster,
      now - cluster,
      other,
      other,
      pointer,
      pointer};
  return one_of(choices, random) & ones(bits);
}

}  // namespace

std::optional<std::size_t> mutate_structure(base::MutableBytes buffer, std::size_t size, unsigned seed) {
  Random random(seed + 1);
  if (pieces_of(buffer.first(size)).size() > most_pieces) return std::nullopt;
  SparseInput image(buffer, size);
  if (image.image_end() < 72) return std::nullopt;
  if (random() % 32 == 0) {  // another length, with holes at the end
    if (!image.grow(std::uint64_t{random()} << random() % 17)) return std::nullopt;
    return image.size();
  }
  auto structures = structures_of(image, random);
  std::erase_if(structures, [](const Structure& s) { return s.places.empty(); });
  const auto& structure = one_of(structures, random);
  const Place& place = one_of(structure.places, random);
  const std::uint64_t now = image.load(place.offset, place.width);
  const std::uint64_t other = image.load(one_of(structure.places, random).offset, place.width);
  const std::uint64_t pointer = one_of(structures, random).offset;
  const std::uint64_t cluster = std::uint64_t{1} << std::clamp<std::uint64_t>(image.load(20, 4), 9, 21);

  std::uint64_t value = 0;
  const int bits = static_cast<int>(place.width) * 8;
  if (place.word != nullptr && random() % 2 == 0) {
    const auto& part = one_of(place.word->parts, random);
    const int width = std::min(part.high, bits - 1) - part.low + 1;
    if (width <= 0) return std::nullopt;
    value = part.set(now, hurtful(part.get(now), width, part.get(other), pointer >> part.low,
                                  cluster >> part.low, random));
  } else {
    value = hurtful(now, bits, other, pointer, cluster, random);
  }
  if (!image.store(place.offset, place.width, value)) return std::nullopt;
  return image.size();
}

std::size_t mutate_image(std::uint8_t* data, std::size_t size, std::size_t room, unsigned seed) {
  const auto changed = seed % 4 == 0
                           ? std::nullopt
                           : mutate_structure({reinterpret_cast<std::byte*>(data), room}, size, seed / 4);
  return changed ? *changed : LLVMFuzzerMutate(data, size, room);
}

}  // namespace cowvet::fuzz
