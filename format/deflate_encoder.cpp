// Blocks are made one by one: sequences are found and counted first; then the codes follow from the counts,
// and the size from the codes; then the smallest of the three kinds of block is written.
#include "format/deflate_encoder.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "format/huffman.hpp"
#include "format/match_finder.hpp"

namespace cowvet::format {

namespace {

constexpr std::size_t literal_symbols = 286, distance_symbols = 30, length_symbols = 19;
constexpr std::size_t end_of_block = 256, first_length = 257;

// How hard is searched: what measured best on file systems for the size of zlib's level 6.
constexpr int depth = 8, lazy_depth = 3;
constexpr std::uint32_t enough = 32;      // a match so long is taken at once
constexpr std::uint32_t lazy_until = 16;  // behind a match so long no better one is looked for
constexpr unsigned patience = 6;          // 2^this literals in a row, and every other place is passed over
constexpr std::size_t block_input = 128 << 10;  // bytes of input in a block at most
constexpr std::size_t block_sequences = 16384;

constexpr auto length_bases =
    std::to_array<std::uint16_t>({3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258});
constexpr auto length_extras = std::to_array<std::uint8_t>(
    {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0});
constexpr auto length_order =
    std::to_array<std::uint8_t>({16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15});

// Which of the length symbols stands for a length.
constexpr auto length_slots = [] {
  std::array<std::uint8_t, longest_match + 1> slots{};
  for (std::size_t slot = 0; slot < length_bases.size(); ++slot)
    for (std::size_t length = length_bases[slot]; length <= longest_match; ++length)
      slots[length] = static_cast<std::uint8_t>(slot);
  return slots;
}();

std::uint32_t distance_slot(std::uint32_t distance) {
  const std::uint32_t d = distance - 1;
  if (d < 4) return d;
  const auto top = static_cast<std::uint32_t>(std::bit_width(d)) - 1;
  return 2 * top + (d >> (top - 1) & 1);
}
std::uint32_t distance_extra(std::uint32_t slot) { return slot < 4 ? 0 : slot / 2 - 1; }
std::uint32_t distance_base(std::uint32_t slot) {
  return slot < 4 ? slot + 1 : ((2 + (slot & 1)) << distance_extra(slot)) + 1;
}

// Literals, and a match behind them; no match at the end of a block.
struct Sequence {
  std::uint32_t literals = 0;
  std::uint16_t length = 0, distance = 0;
};

// Bits in the order of deflate, over room that is known to suffice with 8 bytes to spare.
class BitWriter {
 public:
  explicit BitWriter(std::byte* to) : begin_(to), to_(to) {}
  // At most 56 bits between two flushes.
  void put(std::uint64_t bits, std::uint32_t count) {
    bits_ |= bits << count_;
    count_ += count;
  }
  void flush() {
    for (std::size_t i = 0; i < 8; ++i) to_[i] = static_cast<std::byte>(bits_ >> (8 * i));  // one store
    to_ += count_ / 8;
    bits_ >>= count_ & ~7U;
    count_ &= 7;
  }
  void align() {
    count_ = (count_ + 7) & ~7U;
    flush();
  }
  void copy(base::ConstBytes bytes) {
    std::memcpy(to_, bytes.data(), bytes.size());
    to_ += bytes.size();
  }
  [[nodiscard]] std::size_t bits() const { return static_cast<std::size_t>(to_ - begin_) * 8 + count_; }

 private:
  std::byte* begin_;
  std::byte* to_;
  std::uint64_t bits_ = 0;
  std::uint32_t count_ = 0;
};

struct Code {
  std::array<std::uint8_t, most_symbols> lengths{};
  std::array<std::uint16_t, most_symbols> words{};
};

struct Counts {
  std::array<std::uint32_t, literal_symbols> literals{};
  std::array<std::uint32_t, distance_symbols> distances{};
};

// The lengths of both codes as a dynamic block tells them: run by run.
struct Preamble {
  struct Run {
    std::uint8_t symbol, extra;
  };
  std::array<Run, literal_symbols + distance_symbols> runs;
  std::size_t count = 0;
  std::size_t literals = 0, distances = 0, lengths = 0;  // of which lengths are told
  Code code;
  std::size_t bits = 0;
};
constexpr std::uint32_t run_extra(std::uint8_t symbol) {
  return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0;
}

Preamble preamble(const Code& literal, const Code& distance) {
  Preamble p;
  p.literals = literal_symbols;
  while (p.literals > first_length && literal.lengths[p.literals - 1] == 0) --p.literals;
  p.distances = distance_symbols;
  while (p.distances > 1 && distance.lengths[p.distances - 1] == 0) --p.distances;
  std::array<std::uint8_t, literal_symbols + distance_symbols> all;
  std::ranges::copy(std::span(literal.lengths).first(p.literals), all.begin());
  std::ranges::copy(std::span(distance.lengths).first(p.distances),
                    all.begin() + static_cast<std::ptrdiff_t>(p.literals));
  const std::size_t total = p.literals + p.distances;
  std::array<std::uint32_t, length_symbols> counts{};
  const auto add = [&](std::size_t symbol, std::size_t extra) {
    p.runs[p.count++] = {static_cast<std::uint8_t>(symbol), static_cast<std::uint8_t>(extra)};
    ++counts[symbol];
  };
  for (std::size_t at = 0; at < total;) {
    std::size_t run = 1;
    while (at + run < total && all[at + run] == all[at]) ++run;
    const std::uint8_t length = all[at];
    at += run;
    if (length == 0) {
      while (run >= 11) {
        const std::size_t part = std::min<std::size_t>(run, 138);
        add(18, part - 11);
        run -= part;
      }
      if (run >= 3) {
        add(17, run - 3);
        run = 0;
      }
    } else {
      add(length, 0);
      --run;
      while (run >= 3) {
        const std::size_t part = std::min<std::size_t>(run, 6);
        add(16, part - 3);
        run -= part;
      }
    }
    for (; run > 0; --run) add(length, 0);
  }
  // A code needs two symbols.
  if (std::ranges::count_if(counts, [](auto c) { return c != 0; }) < 2) ++counts[counts[0] != 0 ? 1 : 0];
  code_lengths(counts, 7, std::span(p.code.lengths).first(length_symbols));
  codewords(std::span(p.code.lengths).first(length_symbols), p.code.words);
  p.lengths = length_symbols;
  while (p.lengths > 4 && p.code.lengths[length_order[p.lengths - 1]] == 0) --p.lengths;
  p.bits = 5 + 5 + 4 + 3 * p.lengths;
  for (std::size_t i = 0; i < p.count; ++i)
    p.bits += p.code.lengths[p.runs[i].symbol] + run_extra(p.runs[i].symbol);
  return p;
}

// Bits of all sequences with these codes, the end of the block included.
std::size_t payload_bits(const Counts& counts, const Code& literal, const Code& distance) {
  std::size_t bits = 0;
  for (std::size_t s = 0; s < literal_symbols; ++s)
    bits += std::size_t{counts.literals[s]} *
            (literal.lengths[s] + (s >= first_length ? std::size_t{length_extras[s - first_length]} : 0));
  for (std::uint32_t s = 0; s < distance_symbols; ++s)
    bits += std::size_t{counts.distances[s]} * (distance.lengths[s] + distance_extra(s));
  return bits;
}

Code fixed_literals() {
  Code code;
  for (std::size_t s = 0; s < most_symbols; ++s)
    code.lengths[s] = static_cast<std::uint8_t>(s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8);
  codewords(code.lengths, code.words);
  return code;
}
Code fixed_distances() {
  Code code;
  std::ranges::fill(std::span(code.lengths).first(32), std::uint8_t{5});
  codewords(std::span(code.lengths).first(32), code.words);
  return code;
}

// Each length with its extra bits, ready to be written.
struct LengthWord {
  std::uint32_t bits = 0, count = 0;
};

}  // namespace

struct DeflateEncoder::Work {
  MatchFinder finder;
  std::vector<Sequence> sequences;
  Counts counts;
  std::array<LengthWord, longest_match + 1> length_words;
  const Code fixed_literal = fixed_literals(), fixed_distance = fixed_distances();

  std::size_t find(base::ConstBytes input, std::size_t begin);
  void count(const unsigned char* literals, std::uint32_t run, const Match& match);
  bool write(BitWriter& out, base::ConstBytes block, bool last, std::size_t limit);
  void write_sequences(BitWriter& out, base::ConstBytes block, const Code& literal, const Code& distance);
};

void DeflateEncoder::Work::count(const unsigned char* literals, std::uint32_t run, const Match& match) {
  for (std::uint32_t i = 0; i < run; ++i) ++counts.literals[literals[i]];
  if (match.length != 0) {
    ++counts.literals[first_length + length_slots[match.length]];
    ++counts.distances[distance_slot(match.distance)];
  }
  sequences.push_back(
      {run, static_cast<std::uint16_t>(match.length), static_cast<std::uint16_t>(match.distance)});
}

// The sequences of a block that begins at `begin`; returns its end. A match is put off by a byte when the
// next one is worth more.
std::size_t DeflateEncoder::Work::find(base::ConstBytes input, std::size_t begin) {
  sequences.clear();
  counts = {};
  ++counts.literals[end_of_block];
  const auto* const bytes = reinterpret_cast<const unsigned char*>(input.data());
  const std::size_t end =
      input.size() - begin > block_input + block_input / 2 ? begin + block_input : input.size();
  std::size_t literals = begin;  // the first one that no sequence has
  std::size_t at = begin;
  const auto worth = [](const Match& m) {
    return 4 * static_cast<int>(m.length) - static_cast<int>(std::bit_width(m.distance));
  };
  while (at < end && !finder.near_end(at)) {
    Match match = finder.find(at, 2, depth, enough);
    if (match.length == 0) {
      // The longer nothing was found, the less is looked: what does not shrink costs little time.
      at = std::min(end, at + 1 + ((at - literals) >> patience));
      continue;
    }
    std::size_t told = at + 1;  // positions that the finder knows
    while (match.length < lazy_until && !finder.near_end(at + 1)) {
      const Match next = finder.find(at + 1, match.length - 1, lazy_depth, enough);
      told = at + 2;
      if (next.length == 0 || worth(next) <= worth(match) + 2) break;
      match = next;
      ++at;
    }
    count(bytes + literals, static_cast<std::uint32_t>(at - literals), match);
    finder.skip(told, at + match.length - told);
    at += match.length;
    literals = at;
    if (sequences.size() >= block_sequences) break;
  }
  if (at < end && sequences.size() < block_sequences) at = end;
  at = std::max(at, literals);
  if (at > literals) count(bytes + literals, static_cast<std::uint32_t>(at - literals), {});
  return at;
}

void DeflateEncoder::Work::write_sequences(BitWriter& out, base::ConstBytes block, const Code& literal,
                                           const Code& distance) {
  for (std::uint32_t length = shortest_match; length <= longest_match; ++length) {
    const std::size_t slot = length_slots[length];
    const std::uint32_t code = literal.lengths[first_length + slot];
    length_words[length] = {literal.words[first_length + slot] | (length - length_bases[slot]) << code,
                            code + length_extras[slot]};
  }
  const auto* at = reinterpret_cast<const unsigned char*>(block.data());
  for (const auto& sequence : sequences) {
    std::uint32_t run = sequence.literals;
    for (; run >= 3; run -= 3, at += 3) {
      for (int i = 0; i < 3; ++i) out.put(literal.words[at[i]], literal.lengths[at[i]]);
      out.flush();
    }
    for (; run > 0; --run, ++at) out.put(literal.words[*at], literal.lengths[*at]);
    out.flush();
    if (sequence.length == 0) break;
    const auto& length = length_words[sequence.length];
    out.put(length.bits, length.count);
    const std::uint32_t slot = distance_slot(sequence.distance);
    out.put(distance.words[slot], distance.lengths[slot]);
    out.put(sequence.distance - distance_base(slot), distance_extra(slot));
    out.flush();
    at += sequence.length;
  }
  out.put(literal.words[end_of_block], literal.lengths[end_of_block]);
  out.flush();
}

// False when the stream would not stay below the limit.
bool DeflateEncoder::Work::write(BitWriter& out, base::ConstBytes block, bool last, std::size_t limit) {
  // A code needs two symbols.
  auto distances = counts.distances;
  for (std::size_t s = 0; std::ranges::count_if(distances, [](auto c) { return c != 0; }) < 2; ++s)
    if (distances[s] == 0) distances[s] = 1;
  auto literals = counts.literals;
  if (std::ranges::count_if(literals, [](auto c) { return c != 0; }) < 2) literals[0] = 1;
  Code literal;
  Code distance;
  code_lengths(literals, longest_codeword, std::span(literal.lengths).first(literal_symbols));
  code_lengths(distances, longest_codeword, std::span(distance.lengths).first(distance_symbols));
  const auto told = preamble(literal, distance);
  const std::size_t dynamic = told.bits + payload_bits(counts, literal, distance);
  const std::size_t fixed = payload_bits(counts, fixed_literal, fixed_distance);
  constexpr std::size_t most_stored = 65535;  // bytes in a stored block
  const std::size_t parts = block.size() / most_stored + 1;
  const std::size_t stored = block.size() * 8 + parts * (3 + 7 + 32);  // at most
  const std::size_t least = std::min({dynamic, fixed, stored});
  if ((out.bits() + 3 + least + 7) / 8 >= limit) return false;

  if (least == stored) {
    for (std::size_t part = 0; part < parts; ++part) {
      const auto bytes =
          block.subspan(part * most_stored, std::min(most_stored, block.size() - part * most_stored));
      out.put(last && part + 1 == parts ? 1 : 0, 3);
      out.align();
      out.put(bytes.size() | (~bytes.size() & 0xffff) << 16, 32);
      out.flush();
      out.copy(bytes);
    }
    return true;
  }
  out.put((last ? 1U : 0U) | (least == fixed ? 1U : 2U) << 1, 3);
  if (least == fixed) {
    out.flush();
    write_sequences(out, block, fixed_literal, fixed_distance);
    return true;
  }
  codewords(std::span(literal.lengths).first(literal_symbols), literal.words);
  codewords(std::span(distance.lengths).first(distance_symbols), distance.words);
  out.put(told.literals - 257, 5);
  out.put(told.distances - 1, 5);
  out.put(told.lengths - 4, 4);
  out.flush();
  for (std::size_t i = 0; i < told.lengths; ++i) {
    out.put(told.code.lengths[length_order[i]], 3);
    out.flush();
  }
  for (const auto& run : std::span(told.runs).first(told.count)) {
    out.put(told.code.words[run.symbol], told.code.lengths[run.symbol]);
    out.put(run.extra, run_extra(run.symbol));
    out.flush();
  }
  write_sequences(out, block, literal, distance);
  return true;
}

DeflateEncoder::DeflateEncoder() : work_(std::make_unique<Work>()) {}
DeflateEncoder::~DeflateEncoder() = default;
DeflateEncoder::DeflateEncoder(DeflateEncoder&&) noexcept = default;
DeflateEncoder& DeflateEncoder::operator=(DeflateEncoder&&) noexcept = default;

std::vector<std::byte> DeflateEncoder::encode(base::ConstBytes input, std::size_t limit) {
  constexpr std::size_t spare = 16;  // that the bit writer may touch
  std::vector<std::byte> stream(limit + spare);
  BitWriter out(stream.data());
  work_->finder.begin(input);
  std::size_t begin = 0;
  do {
    const std::size_t end = work_->find(input, begin);
    if (!work_->write(out, input.subspan(begin, end - begin), end == input.size(), limit)) return {};
    begin = end;
  } while (begin < input.size());
  out.align();
  stream.resize(out.bits() / 8);
  return stream;
}

}  // namespace cowvet::format
