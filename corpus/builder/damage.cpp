#include "corpus/builder/damage.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "corpus/builder/content.hpp"
#include "corpus/builder/path.hpp"

namespace cowvet::corpus {
namespace {

// What one line works on: the image file, or the external data file beside it.
struct Target {
  const Layout& layout;
  SparseBytes& file;
};

constexpr std::uint64_t longest_written = 1ULL << 30;

// "@l1", "cluster 5" or "0x50000 for 8".
Region range(Scanner& line) {
  const Value start = line.expression();
  std::uint64_t length = 0;
  if (line.accept("for")) {
    length = line.number();
  } else if (start.length) {
    length = *start.length;
  } else {
    throw Complaint{"how many bytes? write 'for N' after the place"};
  }
  if (start.number + length < length) throw Complaint{"the range leaves the 64 bits of file offsets"};
  return {start.number, length};
}

Region small_range(Scanner& line) {
  const Region r = range(line);
  if (r.length > longest_written) throw Complaint{"more than 1 GiB can't be written; make a hole of it"};
  return r;
}

void set(Scanner& line, const Target& t) {
  const Place place = resolve(t.layout, line.path());
  if (line.accept("=")) {
    if (!line.bytes_follow()) return store(t.file, place, line.number());
    auto bytes = line.bytes();
    if (bytes.size() > place.length)
      throw Complaint{fmt::format("that is {} bytes, but there are only {}", bytes.size(), place.length)};
    bytes.resize(place.length);  // a shorter text is padded with zeros
    t.file.write(place.offset, bytes);
    return;
  }
  const std::uint64_t old = load(t.file, place);
  std::uint64_t value = 0;
  if (line.accept("+=")) {
    value = old + line.number();
  } else if (line.accept("-=")) {
    value = old - line.number();
  } else if (line.accept("|=")) {
    value = old | line.number();
  } else if (line.accept("&=")) {
    value = old & line.number();
  } else if (line.accept("^=")) {
    value = old ^ line.number();
  } else {
    throw Complaint{"set is followed by a path and =, +=, -=, |=, &= or ^="};
  }
  store(t.file, place, value);
}

// Bit 0 is the least significant of a field, as the specification counts; of a raw place, that of its byte.
void flip(Scanner& line, const Target& t) {
  const bool address = line.rest().starts_with('@') || line.rest().starts_with('0');
  if (address) {
    const std::uint64_t at = line.number();
    line.expect("bit");
    const std::uint64_t bit = line.number();
    if (bit > 7) throw Complaint{"a byte has bits 0 to 7; name a field to count further"};
    t.file.store(at, 1, t.file.load(at, 1) ^ 1ULL << bit);
    return;
  }
  const Place place = resolve(t.layout, line.path());
  line.expect("bit");
  const std::uint64_t bit = line.number();
  if (place.what != Place::What::integer || bit >= place.bits)
    throw Complaint{fmt::format("there is no bit {} here", bit)};
  t.file.store(place.offset, place.length,
               t.file.load(place.offset, place.length) ^ 1ULL << (place.low + bit));
}

void fill(Scanner& line, const Target& t) {
  const Region r = small_range(line);
  line.expect("with");
  if (!line.bytes_follow()) {
    const std::uint64_t value = line.number();
    if (value > 255) throw Complaint{"fill with a byte, 0 to 255, or with hex 00 11 repeated"};
    return t.file.fill(r.offset, r.length, static_cast<std::byte>(value));
  }
  const auto unit = line.bytes();
  std::vector<std::byte> bytes(r.length);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = unit[i % unit.size()];
  t.file.write(r.offset, bytes);
}

void noise(Scanner& line, const Target& t) {
  const Region r = small_range(line);
  const std::uint64_t seed = line.accept("seed") ? line.number() : 1;
  std::vector<std::byte> bytes(r.length);
  fill_noise(seed, bytes);
  t.file.write(r.offset, bytes);
}

void write(Scanner& line, const Target& t) {
  const std::uint64_t at = line.number();
  constexpr std::pair<std::string_view, std::size_t> widths[] = {
      {"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}};
  for (auto [name, width] : widths)
    if (line.accept(name))
      return store(t.file, {at, width, Place::What::integer, 0, static_cast<std::uint32_t>(8 * width)},
                   line.number());
  if (!line.bytes_follow())
    throw Complaint{"write PLACE is followed by \"text\", hex 00 11, or u8, u16, u32, u64 and a number"};
  t.file.write(at, line.bytes());
}

void copy(Scanner& line, const Target& t) {
  const Region r = small_range(line);
  line.expect("to");
  t.file.write(line.number(), t.file.read(r.offset, r.length));
}

void exchange(Scanner& line, const Target& t) {
  const Region r = small_range(line);
  line.expect("with");
  const std::uint64_t other = line.number();
  const auto bytes = t.file.read(r.offset, r.length);
  t.file.write(r.offset, t.file.read(other, r.length));
  t.file.write(other, bytes);
}

// "truncate 0x50000" gives the length, "truncate -512" and "truncate +1G" change it.
void truncate(Scanner& line, const Target& t) {
  if (line.accept("-")) {
    const std::uint64_t less = line.number();
    if (less > t.file.size()) throw Complaint{fmt::format("the file has only {} bytes", t.file.size())};
    return t.file.resize(t.file.size() - less);
  }
  if (line.accept("+")) return t.file.resize(t.file.size() + line.number());
  t.file.resize(line.number());
}

void append(Scanner& line, const Target& t) {
  if (line.bytes_follow()) return t.file.write(t.file.size(), line.bytes());
  const std::uint64_t length = line.number();
  if (length > longest_written) throw Complaint{"more than 1 GiB can't be written; use truncate +N"};
  std::uint64_t value = 0;
  if (line.accept("with")) value = line.number();
  if (value > 255) throw Complaint{"append with a byte, 0 to 255"};
  t.file.fill(t.file.size(), length, static_cast<std::byte>(value));
}

using Verb = void (*)(Scanner&, const Target&);
constexpr std::pair<std::string_view, Verb> verbs[] = {
    {"set", set},
    {"flip", flip},
    {"fill", fill},
    {"zero",
     [](Scanner& line, const Target& t) {
       const Region r = small_range(line);
       t.file.fill(r.offset, r.length, std::byte{0});
     }},
    {"hole",
     [](Scanner& line, const Target& t) {
       const Region r = range(line);
       t.file.punch(r.offset, r.length);
     }},
    {"noise", noise},
    {"write", write},
    {"copy", copy},
    {"swap", exchange},
    {"truncate", truncate},
    {"append", append},
};

}  // namespace

bool is_damage(std::string_view verb) {
  return verb == "datafile" ||
         std::ranges::find(verbs, verb, [](const auto& v) { return v.first; }) != std::end(verbs);
}

void apply_damage(std::string_view text, Built& built) {
  Scanner start{text};
  const bool data_file = start.accept("datafile");
  if (data_file && !built.data_file)
    throw Complaint{"the image has no data file; write datafile \"NAME\" above damage:"};
  if (data_file && start.accept("remove")) {
    start.expect_end();
    built.data_file.reset();
    return;
  }
  SparseBytes& file = data_file ? *built.data_file : built.file;
  Scanner line{start.rest(), {&built.layout, &file}};
  const std::string name = line.word("a verb");
  const auto verb = std::ranges::find(verbs, std::string_view(name), [](const auto& v) { return v.first; });
  if (verb == std::end(verbs)) {
    throw Complaint{fmt::format("damage has no '{}'; there are {}, each also after 'datafile'", name,
                                enumerate(verbs, [](const auto& v) { return v.first; }))};
  }
  verb->second(line, {built.layout, file});
  line.expect_end();
}

}  // namespace cowvet::corpus
