// The feature words of a version 3 header, as far as the first cluster alone decides them. Promises: each rule is
// reported once, for all of its bits; the bits of version 2 are all clear.
#include <bit>
#include <string>
#include <utility>

#include "analyzer/header_checks.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::HeaderAdditional;
using format::HeaderV3;

namespace {

// How the feature name table numbers the words.
enum class FeatureWord : std::uint8_t { incompatible = 0, compatible = 1, autoclear = 2 };

// "Set: bit 5 ("name"), bit 17."
std::string list_bits(const Image& image, FeatureWord word, std::uint64_t set) {
  std::string list;
  for (; set != 0; set &= set - 1) {
    const auto bit = static_cast<std::uint32_t>(std::countr_zero(set));
    const auto name = feature_name(image, std::to_underlying(word), bit);
    list += fmt::format("{}bit {}{}", list.empty() ? "" : ", ", bit, name.empty() ? "" : " (" + name + ")");
  }
  return "Set: " + list + ".";
}

// A finding about a feature word, with the whole word as what was found.
template <auto Ptr>
Finding word_finding(const Image& image, findings::RuleId rule) {
  return header_finding<Ptr>(image, rule).found(Value::hex(image.header.v3.*Ptr));
}

void judge_unknown_bits(Image& image) {
  const auto& v3 = image.header.v3;
  if (const auto set = v3.incompatible_features & format::incompatible_word.reserved_mask; set != 0) {
    image.report(word_finding<&HeaderV3::incompatible_features>(image, "feature/incompatible-unknown"_rule)
                     .wanted(Value::text("bits 5 to 63 clear"))
                     .saying(list_bits(image, FeatureWord::incompatible, set)));
    image.doubt("the image needs an unknown feature");
  }
  if (const auto set = v3.compatible_features & format::compatible_word.reserved_mask; set != 0)
    image.report(word_finding<&HeaderV3::compatible_features>(image, "feature/compatible-unknown"_rule)
                     .wanted(Value::text("bits 1 to 63 clear"))
                     .saying(list_bits(image, FeatureWord::compatible, set)));
  if (const auto set = v3.autoclear_features & format::autoclear_word.reserved_mask; set != 0) {
    image.report(word_finding<&HeaderV3::autoclear_features>(image, "feature/autoclear-unknown"_rule)
                     .wanted(Value::text("bits 2 to 63 clear"))
                     .saying(list_bits(image, FeatureWord::autoclear, set)));
    image.doubt("an unknown autoclear feature may own clusters");
  }
}

void judge_state_bits(Image& image) {
  const auto& header = image.header;
  if (header.dirty()) {
    image.report(word_finding<&HeaderV3::incompatible_features>(image, "feature/dirty"_rule)
                     .wanted(Value::text("bit 0 clear")));
    if (!header.lazy_refcounts())
      image.report(word_finding<&HeaderV3::compatible_features>(image, "feature/dirty-without-lazy"_rule)
                       .wanted(Value::text("bit 0 set")));
  }
  if (header.corrupt())
    image.report(word_finding<&HeaderV3::incompatible_features>(image, "feature/corrupt"_rule)
                     .wanted(Value::text("bit 1 clear")));
}

void judge_raw_bit(Image& image) {
  const auto& header = image.header;
  if (!header.raw_external_data()) return;
  if (!header.external_data_file())
    image.report(word_finding<&HeaderV3::incompatible_features>(image, "feature/raw-without-data-file"_rule)
                     .wanted(Value::text("bit 2 set"))
                     .hits(whole_disk(image)));
  if (header.v2.backing_file_offset.raw() != 0 && header.v2.backing_file_size != 0)
    image.report(word_finding<&HeaderV3::autoclear_features>(image, "feature/raw-with-backing"_rule)
                     .wanted(Value::text("bit 1 clear, or no backing file")));
}

void judge_compression(Image& image) {
  const auto& header = image.header;
  const bool bit = header.feature(format::incompatible_word["compression_type"]);
  const bool type = header.additional.compression_type != 0;
  if (bit != type)
    image.report(
        header_finding<&HeaderAdditional::compression_type>(image, "feature/compression-bit-type"_rule)
            .wanted(Value::text(bit ? "another type than 0" : "0"))
            .saying(fmt::format("Incompatible bit 3 is {}.", bit ? "set" : "clear")));
  if (!header.compression())
    image.report(
        header_finding<&HeaderAdditional::compression_type>(image, "feature/compression-type-unknown"_rule)
            .wanted(Value::text("0 or 1")));
}

}  // namespace

std::string feature_name(const Image& image, std::uint8_t word, std::uint32_t bit) {
  const auto* table = image.extensions.find(format::ExtensionType::feature_names);
  if (table == nullptr) return {};
  base::Cursor records{table->data};
  while (const auto bytes = records.take(format::disk_size<format::FeatureName>)) {
    const auto name =
        format::decode<format::FeatureName>(bytes->first<format::disk_size<format::FeatureName>>());
    if (name.word == word && name.bit == bit) return '"' + base::escape(format::until_nul(name.name)) + '"';
  }
  return {};
}

void check_features(Image& image) {
  judge_unknown_bits(image);
  judge_state_bits(image);
  judge_raw_bit(image);
  judge_compression(image);
}

}  // namespace cowvet::analyzer
