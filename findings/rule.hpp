// The rule table: each rule once, and the id by which everybody else names a rule.
//
// Promises: a misspelt rule name does not compile; a RuleId always denotes a row; rows are ordered by code.
// Hands on: `"refcount/leak"_rule`, `RuleId::lookup` for names from outside, `all_rules()` for reports and
// docs. The rows themselves are in findings/rules/, a file for each area; what must hold of all of them is
// asserted in findings/rule.cpp. To add a rule, append it to its area: codes are never reused and never
// change.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "findings/row.hpp"
#include "findings/rules/backing.hpp"
#include "findings/rules/bitmap.hpp"
#include "findings/rules/chain.hpp"
#include "findings/rules/compressed.hpp"
#include "findings/rules/crypt.hpp"
#include "findings/rules/datafile.hpp"
#include "findings/rules/ext.hpp"
#include "findings/rules/extl2.hpp"
#include "findings/rules/feature.hpp"
#include "findings/rules/file.hpp"
#include "findings/rules/header.hpp"
#include "findings/rules/l1.hpp"
#include "findings/rules/l2.hpp"
#include "findings/rules/libvirt.hpp"
#include "findings/rules/luks.hpp"
#include "findings/rules/overlap.hpp"
#include "findings/rules/refcount.hpp"
#include "findings/rules/security.hpp"
#include "findings/rules/snapshot.hpp"
#include "findings/rules/snapshot_state.hpp"

namespace cowvet::findings {

namespace rules {

template <std::size_t... Sizes>
consteval auto joined(const Rule (&... areas)[Sizes]) {
  std::array<Rule, (Sizes + ...)> table{};
  std::size_t next = 0;
  const auto append = [&](std::span<const Rule> area) {
    for (const Rule& rule : area) table[next++] = rule;
  };
  (append(areas), ...);
  return table;
}

inline constexpr auto table =
    joined(header, feature, ext, backing, refcount, l1, l2, extl2, compressed, snapshot, snapshot_state,
           bitmap, crypt, luks, datafile, overlap, file, chain, security, libvirt);

}  // namespace rules

inline constexpr std::size_t rule_count = rules::table.size();

// Every rule, ascending by code.
constexpr std::span<const Rule> all_rules() { return rules::table; }

// A rule of the table, by its position there.
class RuleId {
 public:
  // Compile time only: the name must be a row's name.
  consteval explicit RuleId(std::string_view name) : index_(existing(name)) {}

  // The rule of this name ("refcount/leak") or number ("517"), for text that comes from a person.
  [[nodiscard]] static constexpr std::optional<RuleId> lookup(std::string_view name_or_number);
  // The rule at a position below rule_count.
  [[nodiscard]] static constexpr RuleId from_index(std::size_t index) {
    RuleId rule;
    rule.index_ = static_cast<std::uint16_t>(index);
    return rule;
  }

  constexpr const Rule& operator*() const { return rules::table[index_]; }
  constexpr const Rule* operator->() const { return &rules::table[index_]; }
  [[nodiscard]] constexpr std::size_t index() const { return index_; }
  friend constexpr auto operator<=>(RuleId, RuleId) = default;

 private:
  constexpr RuleId() = default;

  static constexpr std::size_t position(std::string_view name) {
    std::size_t index = 0;
    while (index < rule_count && rules::table[index].name != name) ++index;
    return index;
  }
  static consteval std::uint16_t existing(std::string_view name) {
    const std::size_t index = position(name);
    if (index == rule_count) throw "there is no rule of this name";
    return static_cast<std::uint16_t>(index);
  }

  std::uint16_t index_ = 0;
};

constexpr std::optional<RuleId> RuleId::lookup(std::string_view name_or_number) {
  if (const std::size_t index = position(name_or_number); index < rule_count) return from_index(index);
  if (name_or_number.empty() || name_or_number.size() > 5) return std::nullopt;
  std::uint32_t number = 0;
  for (const char digit : name_or_number) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint32_t>(digit - '0');
  }
  for (std::size_t index = 0; index < rule_count; ++index) {
    if (rules::table[index].code == number) return from_index(index);
  }
  return std::nullopt;
}

inline namespace literals {
consteval RuleId operator""_rule(const char* name, std::size_t length) {
  return RuleId{std::string_view{name, length}};
}
}  // namespace literals

// The words of reports and JSON: "error", "refuse-write", "lossless", "n1-not-recorded", "set-refcount".
std::string_view to_string(Severity severity);
std::string_view to_string(Reader reader);
std::string_view to_string(Consent consent);
std::string_view to_string(Reason reason);
std::string_view to_string(Remedy remedy);

// A severity by its word, as `--fail-on` takes it.
std::optional<Severity> parse_severity(std::string_view word);

}  // namespace cowvet::findings
