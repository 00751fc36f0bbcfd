#include "reports/sarif.hpp"

#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"
#include "reports/place.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;

namespace {

std::string_view level(findings::Severity severity) {
  switch (severity) {
    case findings::Severity::note: return "note";
    case findings::Severity::warning:
    case findings::Severity::leak: return "warning";
    case findings::Severity::error:
    case findings::Severity::fatal: return "error";
  }
  __builtin_unreachable();
}

// A file's name as a relative or absolute URI reference.
std::string uri(std::string_view file) {
  std::string out = file.starts_with('/') ? "file://" : "";
  for (const char c : file) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/-._~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Json text(std::string_view words) { return {{"text", words}}; }

Json describe(const findings::Rule& rule) {
  return {{"id", rule.name},
          {"shortDescription", text(rule.title)},
          {"fullDescription", text(rule.explanation)},
          {"help", text(std::string(rule.consequence) + ' ' + std::string(rule.advice))},
          {"defaultConfiguration", {{"level", level(rule.severity)}}},
          {"properties",
           {{"number", rule.code},
            {"severity", to_string(rule.severity)},
            {"remedy", to_string(rule.remedy)},
            {"consent", to_string(rule.consent)}}}};
}

Json location(const findings::Finding& finding, const Report& report, std::size_t artifact) {
  Json physical{{"artifactLocation", {{"uri", uri(report.file)}, {"index", artifact}}}};
  if (finding.host)
    physical["region"] = {{"byteOffset", finding.host->begin.raw()}, {"byteLength", finding.host->length}};
  Json json{{"physicalLocation", std::move(physical)}};
  if (!finding.where.empty())
    json["logicalLocations"] = Json::array({{{"fullyQualifiedName", base::escape(finding.where)}}});
  return json;
}

Json result(const findings::Finding& finding, const Report& report, std::size_t artifact,
            std::size_t rule_index) {
  Json guest = Json::array();
  for (const auto& range : finding.guest) {
    Json one{{"offset", range.begin.raw()}, {"length", range.length}};
    if (!range.snapshot.empty()) one["snapshot"] = base::escape(range.snapshot);
    guest.push_back(std::move(one));
  }
  return {{"ruleId", finding.rule->name},
          {"ruleIndex", rule_index},
          {"level", level(finding.severity)},
          {"message", text(fmt::format("{}. {}", finding.rule->title, place(finding, PlaceDetail::some)))},
          {"locations", Json::array({location(finding, report, artifact)})},
          {"properties", {{"severity", to_string(finding.severity)}, {"guest", std::move(guest)}}}};
}

}  // namespace

std::string sarif(std::span<const Report> reports) {
  Json rules = Json::array(), results = Json::array(), artifacts = Json::array(), notices = Json::array();
  std::map<std::size_t, std::size_t> index_of;  // by RuleId::index()
  for (const auto& report : reports) {
    const std::size_t artifact = artifacts.size();
    artifacts.push_back({{"location", {{"uri", uri(report.file)}}}, {"length", report.file_size}});
    const auto judgement = judge(report);
    if (!report.outcome || judgement == Judgement::not_qcow2) {
      const auto why = report.outcome ? meaning(report) : base::escape(report.outcome.error().message);
      notices.push_back({{"level", "error"}, {"message", text(base::escape(report.file) + ": " + why)}});
      continue;
    }
    for (const auto& finding : report.outcome->findings) {
      const auto [entry, fresh] = index_of.try_emplace(finding.rule.index(), rules.size());
      if (fresh) rules.push_back(describe(*finding.rule));
      results.push_back(result(finding, report, artifact, entry->second));
    }
  }
  const Json document{
      {"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
      {"version", "2.1.0"},
      {"runs",
       Json::array(
           {{{"tool", {{"driver", {{"name", "cowvet"}, {"version", base::version}, {"rules", rules}}}}},
             {"invocations", Json::array({{{"executionSuccessful", notices.empty()},
                                           {"toolExecutionNotifications", notices}}})},
             {"artifacts", artifacts},
             {"results", results}}})}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace cowvet::reports
