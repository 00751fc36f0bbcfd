#include "reports/finding_json.hpp"

#include <cstdint>
#include <utility>
#include <variant>

#include "base/text.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;

namespace {

Json host_range(const findings::HostRange& host) {
  return {{"offset", host.begin.raw()}, {"length", host.length}};
}

Json value(const findings::Value& value) {
  if (value.style == findings::Value::Style::dec)
    if (const auto* number = std::get_if<std::uint64_t>(&value.v)) return *number;
  return base::escape(to_string(value));
}

Json owner(const findings::Owner& owner) {
  Json json{{"what", base::escape(owner.what)}, {"where", base::escape(owner.where)}};
  if (owner.guest) json["guest"] = guest_json(*owner.guest);
  return json;
}

}  // namespace

Json guest_json(const findings::GuestRange& guest) {
  Json json{{"offset", guest.begin.raw()}, {"length", guest.length}};
  if (!guest.snapshot.empty()) json["snapshot"] = base::escape(guest.snapshot);
  return json;
}

Json finding_json(const findings::Finding& finding) {
  const auto& rule = *finding.rule;
  Json json{{"rule", rule.name},
            {"number", rule.code},
            {"severity", to_string(finding.severity)},
            {"title", rule.title},
            {"where", base::escape(finding.where)}};
  if (finding.host) json["host"] = host_range(*finding.host);
  json["guest"] = Json::array();
  for (const auto& guest : finding.guest) json["guest"].push_back(guest_json(guest));
  if (!finding.snapshot.empty()) json["snapshot"] = base::escape(finding.snapshot);
  if (!finding.expected.empty()) json["expected"] = value(finding.expected);
  if (!finding.actual.empty()) json["actual"] = value(finding.actual);
  if (!finding.detail.empty()) json["detail"] = base::escape(finding.detail);
  json["consequence"] = rule.consequence;
  json["remedy"] = to_string(rule.remedy);
  json["consent"] = to_string(rule.consent);
  json["owners"] = Json::array();
  for (const auto& other : finding.owners) json["owners"].push_back(owner(other));
  json["count"] = finding.count;
  json["inferred"] = finding.inferred;
  return json;
}

Json names_json(const std::vector<std::string>& names) {
  Json list = Json::array();
  for (const auto& name : names) list.push_back(base::escape(name));
  return list;
}

}  // namespace cowvet::reports
