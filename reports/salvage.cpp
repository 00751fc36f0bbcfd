#include "reports/salvage.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;
using repair::Fate;

namespace {

constexpr std::size_t told_ranges = 10;      // of a layer, to a person
constexpr std::size_t listed_ranges = 1000;  // of a layer, in JSON

std::string_view verdict(const SalvageReport& report) {
  return report.loses() ? "loss" : report.infers() ? "inferred" : "complete";
}

std::string_view word(Fate fate) {
  switch (fate) {
    case Fate::below: return "below";
    case Fate::certain: return "certain";
    case Fate::inferred: return "inferred";
    case Fate::lost: return "lost";
  }
  return "";
}

bool notable(const repair::FateRange& range) {
  return range.fate == Fate::lost || range.fate == Fate::inferred;
}

std::string title(const SalvageReport::Entry& entry) {
  const auto& layer = entry.layer.layer;
  if (!layer.entry) return "the disk";
  return fmt::format("snapshot {} \"{}\"", base::escape(layer.snapshot), base::escape(layer.name));
}

}  // namespace

std::uint64_t SalvageReport::bytes(Fate fate) const {
  std::uint64_t sum = 0;
  for (const auto& entry : layers) sum += entry.layer.map.bytes(fate);
  return sum;
}

bool SalvageReport::loses() const {
  return !snapshots_complete || bytes(Fate::lost) != 0 ||
         std::ranges::any_of(layers, [](const Entry& entry) { return entry.layer.vm_lost != 0; });
}

std::string salvage_text(const SalvageReport& report, const TextOptions& options) {
  std::string out = fmt::format("{}: {}\n", base::escape(report.file),
                                report.loses()    ? "salvaged, with losses"
                                : report.infers() ? "salvaged whole; some of it is by inference"
                                                  : "salvaged whole");
  const auto line = [&](const std::string& text) { out += "  " + wrapped(text, 2, options.width) + '\n'; };
  for (const auto& inference : report.inferences) line("inferred: " + base::escape(inference));
  for (const auto& entry : report.layers) {
    const auto& map = entry.layer.map;
    std::string text = fmt::format("{} of {} is in {}", title(entry),
                                   base::human_size(entry.layer.layer.size), base::escape(entry.file));
    for (const auto fate : {Fate::certain, Fate::inferred, Fate::below, Fate::lost})
      if (const auto bytes = map.bytes(fate); bytes != 0)
        text += fmt::format("; {} {}", base::human_size(bytes),
                            fate == Fate::below ? "left to what lies below" : word(fate));
    line(text);
    std::size_t told = 0;
    const auto notables = static_cast<std::size_t>(std::ranges::count_if(map.ranges(), notable));
    for (const auto& range : map.ranges()) {
      if (!notable(range)) continue;
      if (told++ == told_ranges) break;
      out += fmt::format("    {} guest {:#x}..{:#x} ({}): {}\n", word(range.fate), range.begin, range.end,
                         base::human_size(range.end - range.begin), base::escape(range.why));
    }
    if (notables > told_ranges)
      out += fmt::format("    and {} ranges more: see --map\n", notables - told_ranges);
    if (entry.layer.vm_lost != 0)
      line(fmt::format("{} bytes of its machine state are lost", entry.layer.vm_lost));
  }
  if (!report.snapshots_complete)
    line("the snapshot table can't be read to its end: there may have been more snapshots");
  if (report.recovered != 0)
    line(fmt::format("{} failing reads succeeded when tried again", report.recovered));
  for (const auto& note : report.notes) line(note);
  return out;
}

std::string salvage_json(const SalvageReport& report) {
  Json json{{"schema", "cowvet.salvage/1"},
            {"tool", {{"name", "cowvet"}, {"version", base::version}}},
            {"filename", base::escape(report.file)},
            {"output", base::escape(report.out)},
            {"verdict", verdict(report)},
            {"snapshots-complete", report.snapshots_complete},
            {"recovered-reads", report.recovered}};
  for (const auto* list : {&report.inferences, &report.notes}) {
    Json texts = Json::array();
    for (const auto& text : *list) texts.push_back(base::escape(text));
    json[list == &report.inferences ? "inferences" : "notes"] = std::move(texts);
  }
  json["layers"] = Json::array();
  for (const auto& entry : report.layers) {
    const auto& [layer, map, vm_state, vm_lost, id] = entry.layer;
    Json one;
    if (layer.entry) {
      one["snapshot"] = base::escape(layer.snapshot);
      one["name"] = base::escape(layer.name);
      if (!id.empty()) one["id-in-output"] = base::escape(id);
    }
    one["file"] = base::escape(entry.file);
    one["size"] = layer.size;
    for (const auto fate : {Fate::certain, Fate::inferred, Fate::below, Fate::lost})
      one[std::string(word(fate))] = map.bytes(fate);
    one["vm-state-size"] = vm_state;
    one["vm-state-lost"] = vm_lost;
    Json ranges = Json::array();
    for (const auto& range : map.ranges())
      if (notable(range) && ranges.size() < listed_ranges)
        ranges.push_back({{"offset", range.begin},
                          {"length", range.end - range.begin},
                          {"fate", word(range.fate)},
                          {"why", base::escape(range.why)}});
    one["ranges"] = std::ranges::count_if(map.ranges(), notable);
    one["listed"] = std::move(ranges);
    json["layers"].push_back(std::move(one));
  }
  return json.dump(4, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace cowvet::reports
