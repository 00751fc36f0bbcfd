#include "reports/rules.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "reports/text.hpp"

namespace cowvet::reports {

using findings::Consent;
using findings::Reader;
using findings::Reason;
using findings::Rule;
using findings::Severity;

std::string_view area_of(const Rule& rule) { return rule.name.substr(0, rule.name.find('/')); }

std::string_view explain(Severity severity) {
  switch (severity) {
    case Severity::note: return "an observation; never affects the verdict";
    case Severity::warning: return "legal but hazardous";
    case Severity::leak: return "wasted space only";
    case Severity::error: return "data is wrong or at risk";
    case Severity::fatal: return "the image, or the named part of it, can't be interpreted";
  }
  __builtin_unreachable();
}

std::string_view explain(Reader reader) {
  switch (reader) {
    case Reader::tolerate: return "goes on and reports";
    case Reader::refuse_write: return "serves reads, refuses every change";
    case Reader::fail_read:
      return "returns an error for the range: never zeros, never the backing file's data";
    case Reader::refuse_open: return "serves no data at all";
  }
  __builtin_unreachable();
}

std::string_view explain(Consent consent) {
  switch (consent) {
    case Consent::none: return "there is no repair";
    case Consent::lossless: return "nothing: bookkeeping only, no content can be lost";
    case Consent::frees: return "that space is given back; its old content may be overwritten later";
    case Consent::choice: return "a decision for this image, since another reading or program is concerned";
    case Consent::lossy: return "that information is discarded";
  }
  __builtin_unreachable();
}

std::string_view explain(Reason reason) {
  switch (reason) {
    case Reason::repairable: return "it can be repaired";
    case Reason::n1_not_recorded: return "the right value is recorded nowhere else in the file";
    case Reason::n2_two_readings: return "two readings are possible, and only a person can choose";
    case Reason::n3_legal: return "legal, nothing to repair";
    case Reason::n4_would_discard: return "the change would discard data, key material or evidence";
    case Reason::n5_content_lost:
      return "the content is lost or foreign; mending the pointer doesn't bring it back";
    case Reason::n6_elsewhere: return "the fault lies outside this file";
    case Reason::n7_not_yet: return "it could be mended; cowvet does not do it yet";
  }
  __builtin_unreachable();
}

std::string rule_list(std::span<const Rule> rules) {
  std::string out;
  std::string_view area;
  for (const auto& rule : rules) {
    if (area_of(rule) != area) {
      if (!area.empty()) out += '\n';
      area = area_of(rule);
    }
    out +=
        fmt::format("{:>4}  {:<8} {:<36} {}\n", rule.code, to_string(rule.severity), rule.name, rule.title);
  }
  return out;
}

std::string rule_text(const Rule& rule, unsigned width) {
  std::string out = fmt::format("{} ({}), {}", rule.name, rule.code, to_string(rule.severity));
  if (rule.lesser != rule.severity) out += fmt::format(", {} in milder cases", to_string(rule.lesser));
  if (rule.deep) out += ", found with --deep only";
  out += fmt::format("\n{}\n", rule.title);
  const auto paragraph = [&](std::string_view heading, std::string_view prose) {
    out += fmt::format("\n{}\n  {}\n", heading, wrapped(prose, 2, width));
  };
  paragraph("What must hold", rule.explanation);
  paragraph("What is at risk", rule.consequence);
  paragraph("What to do", rule.advice);
  paragraph("What a careful reader does",
            fmt::format("{}: {}", to_string(rule.reader), explain(rule.reader)));
  paragraph("Repair", rule.reason == Reason::repairable
                          ? fmt::format("{}; it needs {}", to_string(rule.remedy), explain(rule.consent))
                          : fmt::format("none: {}", explain(rule.reason)));
  paragraph("Where the format says so", rule.spec);
  return out;
}

std::string rules_json(std::span<const Rule> rules) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const auto& rule : rules)
    list.push_back({{"name", rule.name},
                    {"number", rule.code},
                    {"severity", to_string(rule.severity)},
                    {"lesser-severity", to_string(rule.lesser)},
                    {"title", rule.title},
                    {"explanation", rule.explanation},
                    {"consequence", rule.consequence},
                    {"advice", rule.advice},
                    {"reader", to_string(rule.reader)},
                    {"remedy", to_string(rule.remedy)},
                    {"consent", to_string(rule.consent)},
                    {"reason", to_string(rule.reason)},
                    {"specification", rule.spec},
                    {"deep", rule.deep}});
  const Json document{{"schema", "cowvet.rules/1"}, {"rules", std::move(list)}};
  return document.dump(4) + '\n';
}

}  // namespace cowvet::reports
