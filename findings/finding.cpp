// The order of findings and the words of their builder.
#include "findings/finding.hpp"

#include <tuple>

#include <fmt/format.h>

namespace cowvet::findings {

Value Value::at_least(std::uint64_t number) { return text(fmt::format("at least {}", number)); }
Value Value::at_most(std::uint64_t number) { return text(fmt::format("at most {}", number)); }

std::string to_string(const Value& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value.v)) {
    return value.style == Value::Style::hex ? fmt::format("{:#x}", *number) : fmt::format("{}", *number);
  }
  const auto* words = std::get_if<std::string>(&value.v);
  return words == nullptr ? std::string{} : *words;
}

Finding&& Finding::at(std::string path) && {
  where = std::move(path);
  return std::move(*this);
}

Finding&& Finding::on(HostRange bytes) && {
  host = bytes;
  return std::move(*this);
}

Finding&& Finding::on(base::HostOffset begin, std::uint64_t length) && {
  return std::move(*this).on(HostRange{begin, length});
}

Finding&& Finding::hits(GuestRange range) && {
  guest.push_back(std::move(range));
  return std::move(*this);
}

Finding&& Finding::in(std::string snapshot_id) && {
  snapshot = std::move(snapshot_id);
  return std::move(*this);
}

Finding&& Finding::wanted(Value value) && {
  expected = std::move(value);
  return std::move(*this);
}

Finding&& Finding::found(Value value) && {
  actual = std::move(value);
  return std::move(*this);
}

Finding&& Finding::saying(std::string sentence) && {
  detail = std::move(sentence);
  return std::move(*this);
}

Finding&& Finding::shared_with(Owner owner) && {
  owners.push_back(std::move(owner));
  return std::move(*this);
}

Finding&& Finding::clusters(std::uint64_t number) && {
  count = number;
  return std::move(*this);
}

Finding&& Finding::milder() && {
  severity = rule->lesser;
  return std::move(*this);
}

Place place_of(const Finding& finding) {
  Place place;
  if (finding.host) place.host = finding.host->begin;
  if (!finding.guest.empty()) place.guest = finding.guest.front().begin;
  return place;
}

std::strong_ordering operator<=>(const Finding& a, const Finding& b) {
  if (const auto order = a.rule <=> b.rule; order != 0) return order;
  if (const auto order = place_of(a) <=> place_of(b); order != 0) return order;
  const auto rest = [](const Finding& f) {
    return std::tie(f.where, f.snapshot, f.host, f.guest, f.severity, f.expected, f.actual, f.detail,
                    f.owners, f.count, f.inferred);
  };
  return rest(a) <=> rest(b);
}

}  // namespace cowvet::findings
