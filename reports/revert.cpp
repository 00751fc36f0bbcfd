#include "reports/revert.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"
#include "reports/finding_json.hpp"
#include "reports/place.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;

namespace {

std::string_view verdict(const RevertReport& report) {
  return !report.safe() ? "not safe" : report.loses() ? "safe, with loss" : "safe";
}

std::string listed(const std::vector<std::string>& list) {
  std::string text;
  for (const auto& name : list) text += (text.empty() ? "" : ", ") + base::escape(name);
  return text;
}

}  // namespace

std::string revert_text(const RevertReport& report, const TextOptions& options) {
  std::string out = fmt::format("{}: {}: {} {}\n", base::escape(report.file), verdict(report),
                                report.external ? "discarding it shows" : "going back to snapshot",
                                base::escape(report.target));
  const auto line = [&](const std::string& text) { out += "  " + wrapped(text, 2, options.width) + '\n'; };
  for (const auto& obstacle : report.obstacles) line(base::escape(obstacle));
  for (const auto& finding : report.findings)
    line(fmt::format("{} {} ({}): {}: {}", to_string(finding.severity), finding.rule->name,
                     finding.rule->code, finding.rule->title, place(finding, PlaceDetail::some)));
  if (report.elsewhere != 0)
    line(fmt::format("{} not concerning it: see cowvet check", some(report.elsewhere, "error")));
  if (report.size_then != report.size_now)
    line(
        fmt::format("the disk gets another size: {} instead of {} bytes", report.size_then, report.size_now));
  if (report.vm_state != 0)
    line(fmt::format("a saved machine state of {} belongs to it", base::human_size(report.vm_state)));
  if (!report.loss_unknown.empty())
    line("what would be lost can't be told: " + base::escape(report.loss_unknown));
  if (report.lost_bytes != 0) {
    line(fmt::format("lost: {} of the disk as it is now, in {}", base::human_size(report.lost_bytes),
                     some(report.lost_ranges, "range")));
    for (const auto& range : report.lost)
      out += fmt::format("    guest {:#x}..{:#x} ({})\n", range.begin, range.begin + range.length,
                         base::human_size(range.length));
    if (report.lost_ranges > report.lost.size())
      out += fmt::format("    and {} more\n", report.lost_ranges - report.lost.size());
  }
  if (!report.bitmaps.empty()) line("bitmaps that become invalid: " + listed(report.bitmaps));
  if (!report.snapshots.empty()) line("snapshots that are lost: " + listed(report.snapshots));
  if (!report.no_undo.empty())
    line("it can't be undone: " + report.no_undo);
  else
    line(fmt::format("it can{} be undone: {} first takes {}, and {} are free", report.undoable() ? "" : "'t",
                     report.external ? "keeping a copy of the overlay" : "a snapshot of the present",
                     base::human_size(report.undo_needs),
                     report.undo_has ? base::human_size(*report.undo_has) : "unknown bytes"));
  if (!report.deep) line("content was not read: --deep does");
  return out;
}

std::string revert_json(const RevertReport& report) {
  Json json{{"schema", "cowvet.revert-check/1"},
            {"tool", {{"name", "cowvet"}, {"version", base::version}}},
            {"filename", base::escape(report.file)},
            {"target", base::escape(report.target)},
            {"kind", report.external ? "external" : "internal"},
            {"verdict", !report.safe()   ? "unsafe"
                        : report.loses() ? "loss"
                                         : "safe"},
            {"deep", report.deep},
            {"obstacles", names_json(report.obstacles)}};
  json["findings"] = Json::array();
  for (const auto& finding : report.findings) json["findings"].push_back(finding_json(finding));
  json["errors-elsewhere"] = report.elsewhere;
  json["size-now"] = report.size_now;
  json["size-then"] = report.size_then;
  json["vm-state-size"] = report.vm_state;
  Json ranges = Json::array();
  for (const auto& range : report.lost) ranges.push_back({{"offset", range.begin}, {"length", range.length}});
  json["lost"] = {{"bytes", report.lost_bytes},
                  {"ranges", report.lost_ranges},
                  {"listed", std::move(ranges)},
                  {"bitmaps", names_json(report.bitmaps)},
                  {"snapshots", names_json(report.snapshots)}};
  if (!report.loss_unknown.empty()) json["lost"]["unknown"] = base::escape(report.loss_unknown);
  json["undo"] = {{"possible", report.undoable()}, {"needs", report.undo_needs}};
  if (report.undo_has) json["undo"]["free"] = *report.undo_has;
  if (!report.no_undo.empty()) json["undo"]["why-not"] = report.no_undo;
  return json.dump(4, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace cowvet::reports
