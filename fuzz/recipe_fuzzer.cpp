// The recipe language, on any text. Promises: a text is an image or an error with words, the same each time.
// Texts whose numbers or number of lines ask for a huge image are left out: recipes are ours, and may ask for
// that.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>

#include "corpus/builder/recipe.hpp"
#include "fuzz/require.hpp"

namespace cowvet::fuzz {
namespace {

constexpr std::size_t most_lines = 40;
constexpr std::uint64_t most = 64, most_bytes = 1 << 20, most_cluster = 64 << 10;

// Whether the number at `at`, with its unit, may make an image huge; moves `at` behind it.
bool is_huge(std::string_view text, std::size_t& at) {
  const std::string_view before = text.substr(0, at);
  const bool hex = text.substr(at).starts_with("0x") || text.substr(at).starts_with("0X");
  const char* begin = text.data() + at + (hex ? 2 : 0);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), number, hex ? 16 : 10);
  at = std::max<std::size_t>(at + 1, static_cast<std::size_t>(end - text.data()));
  if (error != std::errc{}) return error == std::errc::result_out_of_range;
  static constexpr std::string_view units = "KMGTPE";
  const auto unit = at < text.size() ? units.find(static_cast<char>(std::toupper(text[at]))) : units.npos;
  if (unit != units.npos && number >> (63 - 10 * (unit + 1)) != 0) return true;
  if (unit != units.npos) number <<= 10 * (unit + 1);
  if (before.ends_with("cluster_size=")) return number > most_cluster;
  if (before.ends_with("cluster_bits=")) return number > 16;
  return number > (hex || unit != units.npos ? most_bytes : most);
}

bool asks_for_much(std::string_view text) {
  if (std::ranges::count(text, '\n') > static_cast<std::ptrdiff_t>(most_lines)) return true;
  for (std::size_t at = 0; at < text.size();) {
    if (std::isdigit(static_cast<unsigned char>(text[at])) == 0) {
      ++at;
    } else if (is_huge(text, at)) {
      return true;
    }
  }
  return false;
}

void build(std::string_view text) {
  if (asks_for_much(text)) return;
  const auto image = corpus::build(text);
  if (!image) require(!image.error().message.empty(), "an error has words");
  const auto again = corpus::build(text);
  require(image.has_value() == again.has_value(), "the same text is built or refused again");
  if (image) require(image->file == again->file, "the same text gives the same bytes");
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::build({reinterpret_cast<const char*>(data), size});
  return 0;
}
