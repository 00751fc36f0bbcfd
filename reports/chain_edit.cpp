#include "reports/chain_edit.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "reports/finding_json.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;

namespace {

Json layers_json(const std::vector<EditedLayer>& layers) {
  Json list = Json::array();
  for (const auto& layer : layers)
    list.push_back(
        {{"filename", base::escape(layer.file)}, {"format", layer.format}, {"virtual-size", layer.size}});
  return list;
}

std::string layers_text(const std::vector<EditedLayer>& layers) {
  std::string text;
  for (const auto& layer : layers)
    text +=
        fmt::format("  {} ({}, {})\n", base::escape(layer.file), layer.format, base::human_size(layer.size));
  return text;
}

std::string names_text(std::string_view heading, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  std::string text = fmt::format("{}:\n", heading);
  for (const auto& name : names) text += fmt::format("  {}\n", base::escape(name));
  return text;
}

std::string bytes_text(std::string_view heading, std::uint64_t bytes) {
  return bytes == 0 ? "" : fmt::format("{}: {} ({} bytes)\n", heading, base::human_size(bytes), bytes);
}

}  // namespace

std::string chain_edit_json(const ChainEditReport& report) {
  Json json{{"schema", "cowvet.chain-edit/1"},      {"operation", report.operation},
            {"before", layers_json(report.before)}, {"after", layers_json(report.after)},
            {"copied-bytes", report.copied},        {"zeroed-bytes", report.zeroed},
            {"compared-bytes", report.compared}};
  json["space"] = Json::array();
  for (const auto& need : report.needs) {
    Json one{{"filename", base::escape(need.file)}, {"needed-bytes", need.bytes}};
    if (need.available) one["available-bytes"] = *need.available;
    json["space"].push_back(std::move(one));
  }
  json["changed"] = names_json(report.changed);
  json["invalid"] = names_json(report.invalid);
  json["unused"] = names_json(report.unused);
  json["hazards"] = names_json(report.hazards);
  if (report.differences) {
    json["different-bytes"] = report.different;
    json["differences"] = Json::array();
    for (const auto& range : *report.differences) {
      Json one{{"offset", range.offset}, {"length", range.length}};
      if (!range.snapshot.empty()) one["snapshot"] = base::escape(range.snapshot);
      json["differences"].push_back(std::move(one));
    }
  }
  return json.dump(2) + "\n";
}

std::string range_lines(const std::vector<ChangedRange>& ranges) {
  std::string text;
  for (const auto& range : ranges)
    text += fmt::format(
        "  {} bytes at {:#x}{}\n", range.length, range.offset,
        range.snapshot.empty() ? "" : fmt::format(" of snapshot '{}'", base::escape(range.snapshot)));
  return text;
}

std::string chain_edit_text(const ChainEditReport& report) {
  std::string text =
      "The chain now:\n" + layers_text(report.before) + "The chain afterwards:\n" + layers_text(report.after);
  text += bytes_text("To be copied", report.copied);
  text += bytes_text("To be compared, and copied where it differs", report.compared);
  text += bytes_text("To be zeros", report.zeroed);
  for (const auto& need : report.needs) {
    if (need.bytes == 0) continue;
    text +=
        fmt::format("Space needed for {}: {} at most", base::escape(need.file), base::human_size(need.bytes));
    text += need.available ? fmt::format(", {} are free\n", base::human_size(*need.available)) : "\n";
  }
  text += names_text("Files that show something else afterwards", report.changed);
  text += names_text("Files that can't be used any more afterwards", report.invalid);
  text += names_text("Files that the chain does not need any more afterwards", report.unused);
  text += names_text("What would be lost", report.hazards);
  if (report.differences && report.differences->empty()) text += "Nothing would read differently.\n";
  if (report.differences && !report.differences->empty())
    text += fmt::format("What would read differently ({} bytes):\n", report.different) +
            range_lines(*report.differences);
  return text;
}

}  // namespace cowvet::reports
