// A finding: one thing that is wrong in one place of an image, with its evidence in typed values.
//
// Promises: a total order that depends on the findings only, so that a sorted list is the same whatever
// thread found what first. Hands on: `Finding` and its parts. Nothing here is text for a person except
// `detail`; reports/ does the wording.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/units.hpp"
#include "findings/rule.hpp"

namespace cowvet::findings {

// Bytes of the image file. With an external data file, still of the image file.
struct HostRange {
  base::HostOffset begin;
  std::uint64_t length = 0;
  friend auto operator<=>(const HostRange&, const HostRange&) = default;
};

// Bytes of the disk as the guest sees it. VM state is addressed behind the end of its snapshot's disk.
struct GuestRange {
  base::GuestOffset begin;
  std::uint64_t length = 0;
  std::string snapshot;  // "" is the active layer, otherwise the internal snapshot's id
  friend auto operator<=>(const GuestRange&, const GuestRange&) = default;
};

// A value that was found or expected: nothing, a number or text. Style is how a report writes a number.
struct Value {
  enum class Style : std::uint8_t { dec, hex, text };

  std::variant<std::monostate, std::uint64_t, std::string> v;
  Style style = Style::dec;

  static Value dec(std::uint64_t number) { return {number, Style::dec}; }
  static Value hex(std::uint64_t number) { return {number, Style::hex}; }
  static Value text(std::string words) { return {std::move(words), Style::text}; }
  static Value at_least(std::uint64_t number);
  static Value at_most(std::uint64_t number);

  [[nodiscard]] bool empty() const { return std::holds_alternative<std::monostate>(v); }
  friend auto operator<=>(const Value&, const Value&) = default;
};

// "5", "0x50000", the text itself, or "" for nothing. Text is not escaped.
std::string to_string(const Value& value);

// Somebody else who refers to the place of a finding.
struct Owner {
  std::string what;                 // "standard data", "L2 table", "refcount block"
  std::string where;                // "l1[0].l2[3]"
  std::optional<GuestRange> guest;  // what it means to the guest, when it means something
  friend auto operator<=>(const Owner&, const Owner&) = default;
};

struct Finding {
  // A finding of this rule with the rule's usual severity.
  explicit Finding(RuleId which) : rule(which), severity(which->severity) {}

  RuleId rule;
  Severity severity;
  std::string where;              // path of the structure: "header.l1_size", "l1[3].l2[17]"
  std::optional<HostRange> host;  // the bytes concerned
  std::vector<GuestRange> guest;  // what is at stake for the guest
  std::string snapshot;           // internal snapshot's id when one is concerned
  Value expected;
  Value actual;
  std::string detail;         // what else a person should know, in one sentence
  std::vector<Owner> owners;  // who else refers to the place
  std::uint64_t count = 1;    // clusters that this finding speaks for
  bool inferred = false;      // rests on inferred geometry

  // Call sites read as sentences:
  // Finding{"l1/entry-reserved"_rule}.at("l1[3]").on(host).found(Value::hex(entry)). Each returns the finding
  // itself; use std::move(finding) or a temporary to hand it on.
  Finding&& at(std::string path) &&;
  Finding&& on(HostRange bytes) &&;
  Finding&& on(base::HostOffset begin, std::uint64_t length) &&;
  Finding&& hits(GuestRange range) &&;
  Finding&& in(std::string snapshot_id) &&;
  Finding&& wanted(Value value) &&;
  Finding&& found(Value value) &&;
  Finding&& saying(std::string sentence) &&;
  Finding&& shared_with(Owner owner) &&;
  Finding&& clusters(std::uint64_t number) &&;
  Finding&& milder() &&;  // takes the rule's lesser severity

  // Rule, then host offset, then guest offset (a finding without one comes first), then everything else.
  friend std::strong_ordering operator<=>(const Finding& a, const Finding& b);
  friend bool operator==(const Finding& a, const Finding& b) { return (a <=> b) == 0; }
};

// The leading part of the order within a rule: all that a caller needs to know before it builds a finding.
struct Place {
  std::optional<base::HostOffset> host;
  std::optional<base::GuestOffset> guest;
  friend auto operator<=>(const Place&, const Place&) = default;
};
Place place_of(const Finding& finding);

}  // namespace cowvet::findings
