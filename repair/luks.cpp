// The LUKS header, without the key: its place, and the fields whose values are the same in every image.
// Promises: what the key is derived from (digest, salts, iterations, key material) is never written to.
#include "format/luks.hpp"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "analyzer/luks_checks.hpp"
#include "repair/extension_area.hpp"
#include "repair/field_places.hpp"
#include "repair/luks_region.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using findings::RuleId;

namespace {

constexpr std::string_view write_place = "lead the header to the LUKS header that was found";
constexpr std::string_view write_payload = "let the payload begin where the LUKS region ends";
constexpr std::string_view write_field = "write the value that this field has in every image";
constexpr std::string_view write_name = "write the name that programs use unless told otherwise";

// Where the key material of all slots ends, bytes behind the header, as the payload begins there; nothing
// when the slots don't say it.
std::optional<std::uint64_t> end_of_key_material(const format::Luks& luks) {
  constexpr std::uint64_t alignment = 4096, sector = 512, largest_key = 1024;
  if (luks.header.key_bytes == 0 || luks.header.key_bytes > largest_key) return std::nullopt;
  std::uint64_t end = 0;
  for (const auto& slot : luks.slots)
    end =
        std::max(end, slot.key_offset * sector + std::uint64_t{luks.header.key_bytes} * format::luks_stripes);
  return base::round_up(end, alignment);
}

// The region's length is where the key material ends, and the header's own field says otherwise.
Remedied mend_payload(Draft& draft, std::uint64_t region, std::uint64_t length) {
  constexpr auto at = place_of_field<&format::LuksHeader::payload_offset>();
  const RuleId rule = "luks/payload-offset-match"_rule;
  auto* action =
      draft.may_act(rule, Consent::choice, write_payload,
                    place_from(draft.found(rule).front(), "the key slots end where the region ends"));
  std::array<std::byte, 4> bytes{};
  base::store_be<std::uint32_t, 0>(std::span<std::byte, 4>(bytes), static_cast<std::uint32_t>(length / 512));
  return action == nullptr ? Remedied{} : draft.put(*action, region + at, bytes);
}

Remedied mend_place(Draft& draft) {
  constexpr RuleId rules[] = {"crypt/header-offset"_rule, "crypt/header-length-min"_rule,
                              "crypt/header-length-max"_rule, "luks/magic"_rule,
                              "luks/payload-offset-match"_rule};
  const auto why = std::ranges::find_if(rules, [&](RuleId rule) { return draft.any(rule); });
  auto extensions = read_extension_list(draft);
  auto* extension = extensions.find(format::ExtensionType::encryption);
  if (why == std::end(rules) || extension == nullptr ||
      extension->data.size() != format::disk_size<format::EncryptionExtension>)
    return {};
  const auto region = find_luks_region(draft);
  if (!region) return {};
  const auto wanted = format::encode(*region);
  if (std::ranges::equal(wanted, extension->data)) return {};
  if (*why == "luks/payload-offset-match"_rule) {
    const auto stored = format::decode<format::EncryptionExtension>(
        std::span(extension->data).first<format::disk_size<format::EncryptionExtension>>());
    const auto luks = format::decode_luks(draft.bytes(region->offset.raw(), format::luks_header_size));
    if (const auto end = luks ? end_of_key_material(*luks) : std::nullopt; end && stored.length == *end)
      return mend_payload(draft, region->offset.raw(), *end);
  }
  extension->data.assign(wanted.begin(), wanted.end());
  auto* action =
      draft.may_act(*why, Consent::choice, write_place,
                    place_from(draft.found(*why).front(),
                               fmt::format("the only LUKS header of the file is at {:#x}, and takes {} bytes",
                                           region->offset.raw(), region->length)));
  if (action == nullptr) return {};
  auto done = write_extension_list(draft, *action, extensions);
  return done ? Remedied{} : Remedied{std::unexpected(done.error())};
}

Remedied put_text(Draft& draft, RuleId rule, std::uint64_t at, std::string_view text, std::string_view what) {
  std::array<std::byte, 32> bytes{};
  std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  auto* action = draft.may_act(
      rule, Consent::choice, what,
      place_from(draft.found(rule).front(),
                 fmt::format("'{}' is what QEMU and cryptsetup write; only the key can prove it", text)));
  return action == nullptr ? Remedied{} : draft.put(*action, at, bytes);
}

// Magic and version, when the rest is a LUKS header.
Remedied mend_start(Draft& draft, std::uint64_t region, const format::Luks& luks) {
  const RuleId rule = draft.any("luks/magic"_rule) ? "luks/magic"_rule : "luks/version"_rule;
  if (!draft.any(rule)) return {};
  const bool slots = std::ranges::any_of(luks.slots, [](const auto& slot) {
    return slot.state == format::luks_slot_active && slot.stripes == format::luks_stripes;
  });
  auto whole = luks;
  whole.header.magic = format::luks_magic;
  whole.header.version = 1;
  if (!slots || !analyzer::payload_of(whole)) return {};
  std::array<std::byte, 8> bytes{};
  std::ranges::copy(format::luks_magic, bytes.begin());
  bytes[7] = std::byte{1};
  auto* action = draft.may_act(
      rule, Consent::choice, write_field,
      place_from(draft.found(rule).front(), "the key slots and the payload's place are a LUKS header's"));
  return action == nullptr ? Remedied{} : draft.put(*action, region, bytes);
}

// Names that are no text, or that no program knows.
Remedied mend_names(Draft& draft, std::uint64_t region) {
  struct Name {
    std::string_view field, usual;
    std::uint64_t at;
  };
  constexpr Name names[] = {
      {"luks.cipher_name", "aes", 8}, {"luks.cipher_mode", "xts-plain64", 40}, {"luks.hash", "sha256", 72}};
  constexpr RuleId rules[] = {"luks/strings"_rule, "luks/cipher"_rule, "luks/mode"_rule, "luks/hash"_rule};
  for (const auto rule : rules)
    for (const auto& f : draft.found(rule))
      for (const auto& name : names)
        if (f.where == name.field)
          if (auto done = put_text(draft, rule, region + name.at, name.usual, write_name); !done) return done;
  return {};
}

// A slot's state is one of two numbers, and its stripes one.
Remedied mend_slots(Draft& draft, std::uint64_t region, const format::Luks& luks) {
  constexpr RuleId rules[] = {"luks/slot-state"_rule, "luks/slot-stripes"_rule};
  const auto why = std::ranges::find_if(rules, [&](RuleId rule) { return draft.any(rule); });
  if (why == std::end(rules)) return {};
  for (std::size_t i = 0; i < luks.slots.size(); ++i) {
    auto slot = luks.slots[i];
    if (slot.state != format::luks_slot_active && slot.state != format::luks_slot_free)
      slot.state = slot.iterations != 0 ? format::luks_slot_active : format::luks_slot_free;
    slot.stripes = format::luks_stripes;
    const std::uint64_t at =
        region + format::disk_size<format::LuksHeader> + i * format::disk_size<format::LuksKeySlot>;
    const auto bytes = format::encode(slot);
    if (std::ranges::equal(draft.bytes(at, bytes.size()), bytes)) continue;
    auto* action =
        draft.may_act(*why, Consent::choice, write_field,
                      {.where = fmt::format("luks.slot[{}]", i),
                       .evidence = slot.iterations != 0 ? "the slot has iterations, so it is in use"
                                                        : "the slot is empty"});
    if (action == nullptr) continue;
    if (auto done = draft.put(*action, at, bytes); !done) return done;
  }
  return {};
}

}  // namespace

Remedied mend_luks(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().header || draft.verdict().inferred) return {};
  if (auto done = mend_place(draft); !done) return done;
  auto extensions = read_extension_list(draft);
  const auto* extension = extensions.find(format::ExtensionType::encryption);
  if (extension == nullptr || extension->data.size() != format::disk_size<format::EncryptionExtension>)
    return {};
  const auto place = format::decode<format::EncryptionExtension>(
      std::span(extension->data).first<format::disk_size<format::EncryptionExtension>>());
  const std::uint64_t region = place.offset.raw();
  if (region == 0 || region % draft.geometry().cluster_size() != 0 || region >= draft.image().size())
    return {};
  const auto luks = format::decode_luks(draft.bytes(region, format::luks_header_size));
  if (!luks || region + format::luks_header_size > draft.image().size()) return {};
  if (auto done = mend_start(draft, region, *luks); !done) return done;
  if (auto done = mend_names(draft, region); !done) return done;
  return mend_slots(draft, region, *luks);
}

}  // namespace cowvet::repair
