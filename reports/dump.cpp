#include "reports/dump.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;
using analyzer::Part;
using analyzer::Structure;

namespace {

constexpr std::string_view compact_digits = "0123456789abcdef";

// Text where the bytes are text up to their padding of zeros, hexadecimal digits otherwise.
std::string bytes_as_words(std::string_view bytes) {
  const auto text = bytes.substr(0, std::min(bytes.find('\0'), bytes.size()));
  const bool padded = bytes.find_first_not_of('\0', text.size()) == std::string_view::npos;
  if (padded && base::plain_text(text)) return "\"" + std::string(text) + "\"";
  std::string digits;
  for (const char c : bytes) {
    digits += compact_digits[static_cast<unsigned char>(c) >> 4];
    digits += compact_digits[static_cast<unsigned char>(c) & 15];
  }
  return digits;
}

std::string number_as_words(std::uint64_t number) {
  return number < 10 ? fmt::format("{}", number) : fmt::format("{:#x} ({})", number, number);
}

// An offset keeps its place in the word, since that is how offsets are meant; other parts are shifted down.
std::uint64_t value_of(const format::BitInfo& bits, std::uint64_t word) {
  return bits.name == "offset" ? word & bits.mask() : bits.get(word);
}

std::string bits_as_words(const format::WordInfo& word, std::uint64_t value) {
  std::string words;
  for (const auto& bits : word.parts) {
    const std::uint64_t part = value_of(bits, value);
    if (part == 0) continue;
    words += words.empty() ? "" : ", ";
    words += bits.low == bits.high ? std::string(bits.name) : fmt::format("{} {:#x}", bits.name, part);
  }
  return words;
}

}  // namespace

std::string dump_text(const Structure& structure) {
  auto out = fmt::format("{} at {:#x}, {} bytes ({})\n", base::escape(structure.path), structure.offset.raw(),
                         structure.length, structure.spec);
  for (const auto& part : structure.parts) {
    std::string value;
    std::string note = part.note;
    if (const auto* number = std::get_if<std::uint64_t>(&part.value)) {
      value = number_as_words(*number);
      if (part.word != nullptr) {
        if (const auto bits = bits_as_words(*part.word, *number); !bits.empty())
          note = note.empty() ? bits : fmt::format("{}; {}", bits, note);
      }
    } else {
      value = bytes_as_words(std::get<std::string>(part.value));
    }
    fmt::format_to(std::back_inserter(out), "  {:<#12x}{:>4}  {:<24}{:<28}{}", part.offset.raw(), part.width,
                   part.name, value, note);
    out.erase(out.find_last_not_of(' ') + 1);
    out += '\n';
  }
  if (structure.zero_entries > 0)
    fmt::format_to(std::back_inserter(out), "  and {} entries that are zero\n", structure.zero_entries);
  return out;
}

std::string dump_json_opening(std::string_view file) {
  return fmt::format("{{\"schema\": \"cowvet.dump/1\", \"filename\": {}, \"structures\": [\n",
                     Json(file).dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string dump_json(const Structure& structure) {
  Json parts = Json::array();
  for (const auto& part : structure.parts) {
    Json one{{"name", part.name}, {"offset", part.offset.raw()}, {"width", part.width}};
    if (const auto* number = std::get_if<std::uint64_t>(&part.value)) {
      one["value"] = *number;
      if (part.word != nullptr)
        for (const auto& bits : part.word->parts)
          if (const auto value = value_of(bits, *number); value != 0)
            one["bits"][std::string(bits.name)] = value;
    } else {
      const auto& bytes = std::get<std::string>(part.value);
      one["text"] = base::escape(bytes);
    }
    if (!part.note.empty()) one["note"] = part.note;
    parts.push_back(std::move(one));
  }
  const Json json{{"path", base::escape(structure.path)},   {"specification", structure.spec},
                  {"offset", structure.offset.raw()},       {"length", structure.length},
                  {"zero-entries", structure.zero_entries}, {"parts", std::move(parts)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string dump_json_closing() { return "\n]}\n"; }

}  // namespace cowvet::reports
