#include "analyzer/luks_checks.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "analyzer/header_checks.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using namespace std::string_view_literals;
using findings::Finding;
using findings::Value;
using format::LuksHeader;
using format::LuksKeySlot;

namespace {

using format::limits::sector;
constexpr std::uint32_t first_sector = 8;          // behind the header's own place
constexpr std::uint32_t largest_key = 64;          // bytes
constexpr std::uint32_t few_iterations = 1000;     // the least that LUKS recommends
constexpr std::uint32_t patience = 100'000'000;    // iterations: about a minute
constexpr std::uint64_t plain_wraps = 2ULL << 40;  // bytes: the plain generator counts sectors in 32 bits

struct Cipher {
  std::string_view name;
  std::array<std::uint32_t, 3> key_sizes;  // bytes, 0: none
};
constexpr std::array ciphers{Cipher{"aes", {16, 24, 32}}, Cipher{"serpent", {16, 24, 32}},
                             Cipher{"twofish", {16, 24, 32}}, Cipher{"cast5", {16}}, Cipher{"sm4", {16}}};

struct Hash {
  std::string_view name;
  std::uint32_t size;  // bytes
};
constexpr std::array hashes{Hash{"md5", 16},    Hash{"sha1", 20},   Hash{"ripemd160", 20}, Hash{"sha224", 28},
                            Hash{"sha256", 32}, Hash{"sha384", 48}, Hash{"sha512", 64},    Hash{"sm3", 32}};

constexpr std::array modes{"ecb"sv, "cbc"sv, "xts"sv, "ctr"sv};
constexpr std::array generators{"plain"sv, "plain64"sv, "essiv"sv};

template <class Table>
const typename Table::value_type* find(const Table& table, std::string_view name) {
  const auto it = std::ranges::find(table, name, &Table::value_type::name);
  return it == table.end() ? nullptr : &*it;
}

bool takes(const Cipher& cipher, std::uint32_t key_size) {
  return key_size != 0 && std::ranges::find(cipher.key_sizes, key_size) != cipher.key_sizes.end();
}

// "xts-plain64", "cbc-essiv:sha256" taken apart.
struct Mode {
  explicit Mode(std::string_view text) {
    const auto minus = text.find('-');
    mode = text.substr(0, minus);
    if (minus == std::string_view::npos) return;
    const auto rest = text.substr(minus + 1);
    const auto colon = rest.find(':');
    generator = rest.substr(0, colon);
    if (colon != std::string_view::npos) hash = rest.substr(colon + 1);
  }
  std::string_view mode, generator, hash;
};

class LuksCheck {
 public:
  LuksCheck(Image& image, const format::Luks& luks, base::HostOffset at)
      : image_(image), luks_(luks), at_(at) {}

  void run() {
    const auto& h = luks_.header;
    if (h.magic != format::luks_magic)
      return image_.report(about<&LuksHeader::magic>("luks/magic"_rule).hits(whole_disk(image_)));
    if (h.version != 1)
      return image_.report(about_number<&LuksHeader::version>("luks/version"_rule)
                               .wanted(Value::dec(1))
                               .hits(whole_disk(image_)));
    if (text<&LuksHeader::cipher_name>() && text<&LuksHeader::cipher_mode>() && text<&LuksHeader::hash>()) {
      judge_cipher();
      judge_mode();
      judge_hash();
    }
    if (h.payload_offset < first_sector)
      image_.report(about_number<&LuksHeader::payload_offset>("luks/payload-offset-min"_rule)
                        .wanted(Value::text(fmt::format("at least {}", first_sector))));
    if (h.iterations == 0)
      image_.report(
          about_number<&LuksHeader::iterations>("luks/master-iterations"_rule).hits(whole_disk(image_)));
    if (h.iterations > patience)
      image_.report(about_number<&LuksHeader::iterations>("security/kdf-cost"_rule));
    const auto uuid = format::until_nul(h.uuid);
    if (uuid.size() == h.uuid.size() || !base::plain_text(uuid))
      image_.report(about<&LuksHeader::uuid>("luks/uuid"_rule).found(Value::text(base::escape(uuid))));
    for (std::size_t i = 0; i < luks_.slots.size(); ++i) judge_slot(i);
    judge_overlaps();
    judge_use();
    judge_strength();
  }

 private:
  template <auto Ptr>
  Finding about(findings::RuleId rule) const {
    return field_finding<Ptr>(rule, at_, "luks");
  }
  template <auto Ptr>
  Finding about_number(findings::RuleId rule) const {
    return field_finding<Ptr>(rule, luks_.header, at_, "luks");
  }
  template <auto Ptr>
  Finding about_slot(findings::RuleId rule, std::size_t i) const {
    const base::HostOffset slot{at_.raw() + format::disk_size<LuksHeader> +
                                i * format::disk_size<LuksKeySlot>};
    return field_finding<Ptr>(rule, luks_.slots[i], slot, fmt::format("luks.slot[{}]", i));
  }

  // Whether the field is terminated text.
  template <auto Ptr>
  bool text() {
    const auto& field = luks_.header.*Ptr;
    if (format::until_nul(field).size() != field.size()) return true;
    image_.report(about<Ptr>("luks/strings"_rule)
                      .hits(whole_disk(image_))
                      .found(Value::text(base::escape(format::as_text(field)))));
    return false;
  }

  void judge_cipher() {
    const auto& h = luks_.header;
    const auto* cipher = find(ciphers, format::until_nul(h.cipher_name));
    if (cipher == nullptr)
      return image_.report(about<&LuksHeader::cipher_name>("luks/cipher"_rule)
                               .hits(whole_disk(image_))
                               .found(Value::text(base::escape(format::until_nul(h.cipher_name)))));
    const Mode mode(format::until_nul(h.cipher_mode));
    const bool halves = mode.mode == "xts", known = std::ranges::find(modes, mode.mode) != modes.end();
    const bool fits = (h.key_bytes % 2 == 0 && (halves || !known) && takes(*cipher, h.key_bytes / 2)) ||
                      (!halves && takes(*cipher, h.key_bytes));
    if (!fits)
      image_.report(about_number<&LuksHeader::key_bytes>("luks/cipher"_rule)
                        .hits(whole_disk(image_))
                        .saying(fmt::format("{} in mode {} has no key of this many bytes.", cipher->name,
                                            base::escape(mode.mode))));
  }

  void judge_mode() {
    const auto stored = format::until_nul(luks_.header.cipher_mode);
    const Mode mode(stored);
    std::string_view why;
    if (std::ranges::find(modes, mode.mode) == modes.end()) {
      why = "The mode is unknown.";
    } else if (std::ranges::find(generators, mode.generator) == generators.end()) {
      why = "The generator is unknown.";
    } else if (mode.generator == "essiv") {
      const auto* hash = find(hashes, mode.hash);
      const auto* cipher = find(ciphers, format::until_nul(luks_.header.cipher_name));
      if (hash == nullptr)
        why = "The generator essiv needs a known hash.";
      else if (cipher != nullptr && !takes(*cipher, hash->size))
        why = "The hash's size is no key size of the cipher.";
    }
    if (!why.empty())
      image_.report(about<&LuksHeader::cipher_mode>("luks/mode"_rule)
                        .hits(whole_disk(image_))
                        .found(Value::text(base::escape(stored)))
                        .saying(std::string(why)));
  }

  void judge_hash() {
    const auto name = format::until_nul(luks_.header.hash);
    if (find(hashes, name) == nullptr)
      image_.report(about<&LuksHeader::hash>("luks/hash"_rule)
                        .hits(whole_disk(image_))
                        .found(Value::text(base::escape(name))));
  }

  void judge_slot(std::size_t i) {
    const auto& slot = luks_.slots[i];
    const bool active = slot.state == format::luks_slot_active;
    if (!active && slot.state != format::luks_slot_free)
      image_.report(about_slot<&LuksKeySlot::state>("luks/slot-state"_rule, i)
                        .wanted(Value::text(
                            fmt::format("{:#x} or {:#x}", format::luks_slot_active, format::luks_slot_free)))
                        .found(Value::hex(slot.state)));
    if (slot.stripes != format::luks_stripes)
      image_.report(about_slot<&LuksKeySlot::stripes>("luks/slot-stripes"_rule, i)
                        .wanted(Value::dec(format::luks_stripes)));
    if (active && slot.iterations == 0)
      image_.report(about_slot<&LuksKeySlot::iterations>("luks/slot-iterations"_rule, i));
    if (active && slot.iterations > patience)
      image_.report(about_slot<&LuksKeySlot::iterations>("security/kdf-cost"_rule, i));
    const auto payload = payload_of(luks_);
    if (key_size_possible() && payload && !key_material_end(luks_, slot))
      image_.report(about_slot<&LuksKeySlot::key_offset>("luks/slot-range"_rule, i)
                        .saying(fmt::format(
                            "The key material takes {} bytes between sector {} and the payload at sector {}.",
                            std::uint64_t{luks_.header.key_bytes} * format::luks_stripes, first_sector,
                            luks_.header.payload_offset)));
  }

  [[nodiscard]] bool key_size_possible() const {
    return luks_.header.key_bytes != 0 && luks_.header.key_bytes <= largest_key;
  }

  void judge_overlaps() {
    for (std::size_t i = 0; i < luks_.slots.size(); ++i) {
      const auto end = key_material_end(luks_, luks_.slots[i]);
      for (std::size_t k = 0; end && k < i; ++k) {
        const auto other = key_material_end(luks_, luks_.slots[k]);
        if (!other || luks_.slots[i].key_offset * sector >= *other ||
            luks_.slots[k].key_offset * sector >= *end)
          continue;
        image_.report(about_slot<&LuksKeySlot::key_offset>("luks/slot-overlap"_rule, i)
                          .saying(fmt::format("The key material overlaps that of slot {}.", k)));
        break;
      }
    }
  }

  void judge_use() {
    // A slot with a damaged state may be the one; luks/slot-state speaks of it.
    if (std::ranges::all_of(luks_.slots,
                            [](const auto& slot) { return slot.state == format::luks_slot_free; }))
      image_.report(Finding{"luks/no-active-slot"_rule}
                        .at("luks.slot")
                        .on(base::HostOffset{at_.raw() + format::disk_size<LuksHeader>},
                            format::luks_slots * format::disk_size<LuksKeySlot>)
                        .hits(whole_disk(image_)));
  }

  void judge_strength() {
    const auto& h = luks_.header;
    const Mode mode(format::until_nul(h.cipher_mode));
    const auto hash = format::until_nul(h.hash);
    std::vector<std::string> weak;
    if (mode.mode == "ecb") weak.emplace_back("mode ecb");
    if (mode.generator == "plain" && image_.header.v2.size > plain_wraps)
      weak.emplace_back("generator plain");
    if (hash == "md5" || hash == "sha1") weak.push_back(fmt::format("hash {}", hash));
    const auto few = [](std::uint32_t n) { return n != 0 && n < few_iterations; };
    if (few(h.iterations)) weak.push_back(fmt::format("{} iterations for the master key", h.iterations));
    for (std::size_t i = 0; i < luks_.slots.size(); ++i)
      if (luks_.slots[i].state == format::luks_slot_active && few(luks_.slots[i].iterations))
        weak.push_back(fmt::format("{} iterations for slot {}", luks_.slots[i].iterations, i));
    if (!weak.empty())
      image_.report(Finding{"luks/weak"_rule}
                        .at("luks")
                        .on(at_, format::luks_header_size)
                        .saying(fmt::format("Weak: {}.", fmt::join(weak, ", "))));
  }

  Image& image_;
  const format::Luks& luks_;
  const base::HostOffset at_;
};

}  // namespace

bool is_luks1(const format::Luks& luks) {
  return luks.header.magic == format::luks_magic && luks.header.version == 1;
}

std::optional<std::uint64_t> payload_of(const format::Luks& luks) {
  if (!is_luks1(luks) || luks.header.payload_offset < first_sector) return std::nullopt;
  return luks.header.payload_offset * sector;
}

std::optional<std::uint64_t> key_material_end(const format::Luks& luks, const LuksKeySlot& slot) {
  const auto payload = payload_of(luks);
  if (!payload || luks.header.key_bytes == 0 || luks.header.key_bytes > largest_key) return std::nullopt;
  if (slot.key_offset < first_sector) return std::nullopt;
  const std::uint64_t end =
      slot.key_offset * sector + std::uint64_t{luks.header.key_bytes} * format::luks_stripes;
  if (end > *payload) return std::nullopt;
  return end;
}

void check_luks(Image& image, const format::Luks& luks, base::HostOffset at) {
  LuksCheck(image, luks, at).run();
}

}  // namespace cowvet::analyzer
