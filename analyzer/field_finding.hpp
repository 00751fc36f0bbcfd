// A finding about one field of a record: path, bytes and value come from the record's field table, so that no offset is
// written twice.
#pragma once
#include <string_view>
#include <tuple>
#include <type_traits>

#include <fmt/format.h>

#include "base/units.hpp"
#include "findings/finding.hpp"
#include "format/record.hpp"

namespace cowvet::analyzer {

namespace detail {

template <class R, class T>
R record_of(T R::*);  // never called: names the record of a member pointer

}  // namespace detail

// What the field table says about a member: `field_info<&HeaderV2::size>().offset`.
template <auto Ptr>
[[nodiscard]] consteval format::FieldInfo field_info() {
  format::FieldInfo found{};
  std::apply(
      [&]<class... F>(const F&... field) {
        const auto look = [&]<class G>(const G& one) {
          if constexpr (std::is_same_v<std::remove_cv_t<decltype(G::ptr)>, std::remove_cv_t<decltype(Ptr)>>) {
            if (G::ptr == Ptr) found = one.info();
          }
        };
        (look(field), ...);
      },
      format::layout<decltype(detail::record_of(Ptr))>.fields);
  if (found.width == 0) throw "the record's table has no such field";
  return found;
}

// A finding about a field of the record that lies at `base` in the file and is called `where`: its path and bytes.
// Offsets should be shown with found(Value::hex(…)), which replaces the number that the overload below puts there.
template <auto Ptr>
[[nodiscard]] findings::Finding field_finding(findings::RuleId rule, base::HostOffset base,
                                              std::string_view where) {
  constexpr auto field = field_info<Ptr>();
  auto finding = findings::Finding{rule}.at(fmt::format("{}.{}", where, field.name));
  // A record whose end would leave 64 bits lies nowhere: then the finding has no bytes.
  if (const auto begin = base.plus(field.offset)) finding.host = findings::HostRange{*begin, field.width};
  return finding;
}

// The same, with the field's value as what was found: offsets in hexadecimal, other numbers in decimal.
template <auto Ptr>
[[nodiscard]] findings::Finding field_finding(findings::RuleId rule,
                                              const decltype(detail::record_of(Ptr))& record,
                                              base::HostOffset base, std::string_view where) {
  auto finding = field_finding<Ptr>(rule, base, where);
  const auto& value = record.*Ptr;
  if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(value)>>) {
    finding.actual = findings::Value::dec(value);
  } else {
    finding.actual = findings::Value::hex(value.raw());
  }
  return finding;
}

}  // namespace cowvet::analyzer
