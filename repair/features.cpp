// Feature bits that contradict the rest of the image, and header extensions of a wrong length. Promises: an unknown
// autoclear bit, and whatever else a newer program may have written, is left alone.
#include <array>

#include "repair/extension_area.hpp"
#include "repair/field_places.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using findings::RuleId;

namespace {

Remedied clear_bits(Draft& draft, RuleId rule, Consent consent, std::string_view what, std::uint64_t at,
                    std::uint64_t mask) {
  for (const auto& f : draft.found(rule)) {
    const std::uint64_t word = draft.word(at);
    if ((word & mask) == 0) continue;
    if (auto* action = draft.may_act(rule, consent, what, place_from(f)))
      if (auto done = draft.put_word(*action, at, word & ~mask); !done) return done;
  }
  return {};
}

// Whether the program that made the image named all features that it knew, and none of these incompatible ones.
bool unnamed(const Draft& draft, std::uint64_t bits) {
  auto extensions = read_extension_list(draft);
  const auto* table = extensions.find(format::ExtensionType::feature_names);
  constexpr std::size_t record = format::disk_size<format::FeatureName>;
  if (table == nullptr || table->data.size() < record) return false;
  std::uint64_t named = 0;
  for (base::ConstBytes rest = table->data; rest.size() >= record; rest = rest.subspan(record)) {
    const auto name = format::decode<format::FeatureName>(rest.first<record>());
    if (name.word == 0 && name.bit < 64) named |= 1ULL << name.bit;
  }
  return (named & format::incompatible_word["dirty"].mask()) != 0 && (named & bits) == 0;
}

// An unknown incompatible bit is a flipped one when nothing else in the image is new or wrong; several are when the
// program that made the image did not know them, or when some are far behind those that there are: features
// are numbered one after the other.
Remedied clear_unknown(Draft& draft) {
  const RuleId rule = "feature/incompatible-unknown"_rule;
  const auto& summary = draft.verdict().summary;
  if (!draft.any(rule)) return {};
  const auto grave =
      summary.of(findings::Severity::fatal).findings + summary.of(findings::Severity::error).findings;
  constexpr unsigned far = 32;
  const auto unknown = draft.header().v3.incompatible_features & format::incompatible_word.reserved_mask;
  const bool alone = grave == summary.of(rule).findings && !draft.any("header/unknown-fields"_rule) &&
                     ((unknown & (unknown - 1)) == 0 || unknown >> far != 0 || unnamed(draft, unknown));
  if (!alone) return {};
  return clear_bits(draft, rule, Consent::choice,
                    "clear the unknown feature bit: everything reads right without it", incompatible_at,
                    unknown);
}

// Extensions of known types whose records have one length only.
Remedied mend_lengths(Draft& draft) {
  for (const auto& [rule, length] :
       {std::pair{"ext/bitmaps-length"_rule, std::uint32_t{format::disk_size<format::BitmapsExtension>}},
        std::pair{"ext/crypto-length"_rule, std::uint32_t{format::disk_size<format::EncryptionExtension>}}})
    for (const auto& f : draft.found(rule)) {
      if (!f.host) continue;
      // The length lies behind the type; findings name the record or the field.
      const std::uint64_t at = f.host->length == 4 ? f.host->begin.raw() : f.host->begin.raw() + 4;
      std::array<std::byte, 4> bytes{};
      base::store_be<std::uint32_t, 0>(std::span(bytes), length);
      if (auto* action = draft.may_act(rule, Consent::choice,
                                       "store the length that the extension has to have", place_from(f)))
        if (auto done = draft.put(*action, at, bytes); !done) return done;
    }
  return {};
}

}  // namespace

Remedied mend_features(Draft& draft) {
  if (!draft.verdict().geometry || !draft.header().has_v3() || draft.verdict().inferred) return {};
  if (auto done = clear_bits(draft, "feature/bitmaps-bit-without-extension"_rule, Consent::lossless,
                             "clear the bitmaps bit, since there is no bitmap", autoclear_at,
                             format::autoclear_word["bitmaps"].mask());
      !done)
    return done;
  if (auto done = clear_bits(draft, "feature/raw-without-data-file"_rule, Consent::choice,
                             "clear the raw external data bit, since there is no external data file",
                             autoclear_at, format::autoclear_word["raw_external_data"].mask());
      !done)
    return done;
  if (auto done = clear_unknown(draft); !done) return done;
  return mend_lengths(draft);
}

}  // namespace cowvet::repair
