#include "reports/carve.hpp"

#include <chrono>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;
using repair::CarvedDisk;
using repair::Fate;

namespace {

std::string_view word(CarvedDisk::Kind kind) {
  switch (kind) {
    case CarvedDisk::Kind::snapshot: return "snapshot";
    case CarvedDisk::Kind::l1_table: return "l1-table";
    case CarvedDisk::Kind::tables: return "l2-tables";
  }
  return "";
}

std::string title(const repair::CarvedDisk& disk) {
  if (disk.layer.entry)
    return fmt::format("deleted snapshot \"{}\" (id {}) of {:%Y-%m-%d %H:%M:%S} UTC",
                       base::escape(disk.layer.name), base::escape(disk.layer.snapshot),
                       std::chrono::sys_seconds(std::chrono::seconds(disk.layer.entry->entry.date_sec)));
  return disk.kind == CarvedDisk::Kind::l1_table ? "a snapshot or an earlier state"
                                                 : "earlier states of parts of the disk";
}

}  // namespace

std::string carve_text(const CarveReport& report, const TextOptions& options) {
  std::string out = fmt::format(
      "{}: {}\n", base::escape(report.file),
      report.disks.empty() ? "nothing of older states is left" : "older states that are still in the file");
  const auto line = [&](const std::string& text) { out += "  " + wrapped(text, 2, options.width) + '\n'; };
  std::size_t number = 0;
  for (const auto& disk : report.disks)
    line(fmt::format("{}: {:.0f} %: {}; disk of {}, {}: {} intact, {} shared with the present, {} lost",
                     ++number, disk.confidence() * 100, title(disk), base::human_size(disk.layer.size),
                     disk.tables == 1 ? "1 table" : fmt::format("{} tables", disk.tables),
                     base::human_size(disk.bytes.intact), base::human_size(disk.bytes.shared),
                     base::human_size(disk.bytes.lost)));
  if (report.unplaced != 0)
    line(fmt::format("{} more L2 tables were found, and nothing tells where in a disk they belong",
                     report.unplaced));
  if (report.extracted) {
    const auto& map = report.extracted->map;
    line(fmt::format(
        "number {} is in {}: {} for certain or not written, {} perhaps changed since, {} lost and zeros",
        report.extracted->number, base::escape(report.extracted->file),
        base::human_size(map.bytes(Fate::certain) + map.bytes(Fate::below)),
        base::human_size(map.bytes(Fate::inferred)), base::human_size(map.bytes(Fate::lost))));
  } else if (!report.disks.empty()) {
    line("--extract NUMBER OUT makes an image of one of them");
  }
  return out;
}

std::string carve_json(const CarveReport& report) {
  Json json{{"schema", "cowvet.carve/1"},
            {"tool", {{"name", "cowvet"}, {"version", base::version}}},
            {"filename", base::escape(report.file)},
            {"unplaced-tables", report.unplaced}};
  json["disks"] = Json::array();
  std::size_t number = 0;
  for (const auto& disk : report.disks) {
    Json one{{"number", ++number}, {"kind", word(disk.kind)}, {"confidence", disk.confidence()}};
    if (disk.layer.entry) {
      one["snapshot"] = base::escape(disk.layer.snapshot);
      one["name"] = base::escape(disk.layer.name);
      one["date"] = disk.layer.entry->entry.date_sec;
    }
    one["size"] = disk.layer.size;
    one["tables"] = disk.tables;
    one["intact"] = disk.bytes.intact;
    one["shared"] = disk.bytes.shared;
    one["lost"] = disk.bytes.lost;
    json["disks"].push_back(std::move(one));
  }
  if (report.extracted) {
    const auto& map = report.extracted->map;
    json["extracted"] = {
        {"number", report.extracted->number},  {"file", base::escape(report.extracted->file)},
        {"certain", map.bytes(Fate::certain)}, {"inferred", map.bytes(Fate::inferred)},
        {"below", map.bytes(Fate::below)},     {"lost", map.bytes(Fate::lost)}};
  }
  return json.dump(4, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace cowvet::reports
