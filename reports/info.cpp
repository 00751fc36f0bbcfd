#include "reports/info.hpp"

#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analyzer/chain.hpp"
#include "base/text.hpp"
#include "format/extensions.hpp"
#include "storage/naming.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;
using analyzer::Info;

namespace {

constexpr std::uint64_t nsec_per_sec = 1'000'000'000;

Json snapshot(const format::Snapshot& s) {
  Json json;
  if (const auto icount = s.icount()) json["icount"] = *icount;
  json["vm-clock-nsec"] = s.entry.vm_clock_nsec % nsec_per_sec;
  json["name"] = s.name;
  json["date-sec"] = s.entry.date_sec;
  json["date-nsec"] = s.entry.date_nsec;
  json["vm-clock-sec"] = s.entry.vm_clock_nsec / nsec_per_sec;
  json["id"] = s.id;
  json["vm-state-size"] = s.vm_state_size();
  return json;
}

Json bitmap(const format::Bitmap& b) {
  Json flags = Json::array();
  if ((b.entry.flags & format::bitmap_in_use) != 0) flags.push_back("in-use");
  if ((b.entry.flags & format::bitmap_auto) != 0) flags.push_back("auto");
  const std::uint64_t granularity =
      b.entry.granularity_bits < 64 ? std::uint64_t{1} << b.entry.granularity_bits : 0;
  return {{"flags", std::move(flags)}, {"name", b.name}, {"granularity", granularity}};
}

// LUKS speaks of "aes" with keys of so many bytes and of "xts-plain64"; QEMU of "aes-256", "xts" and "plain64".
Json luks(const format::Luks& luks) {
  const auto& header = luks.header;
  const std::string cipher{format::until_nul(header.cipher_name)};
  const std::string_view mode_words = format::until_nul(header.cipher_mode);
  const auto dash = std::min(mode_words.find('-'), mode_words.size());
  const auto mode = mode_words.substr(0, dash);
  const auto ivgen_words = mode_words.substr(std::min(dash + 1, mode_words.size()));
  const auto colon = std::min(ivgen_words.find(':'), ivgen_words.size());
  const std::uint64_t key_bits = std::uint64_t{header.key_bytes} * 8 / (mode == "xts" ? 2 : 1);

  Json json{{"ivgen-alg", ivgen_words.substr(0, colon)},
            {"hash-alg", format::until_nul(header.hash)},
            {"cipher-alg", fmt::format("{}-{}", cipher, key_bits)},
            {"uuid", format::until_nul(header.uuid)}};
  if (colon < ivgen_words.size()) json["ivgen-hash-alg"] = ivgen_words.substr(colon + 1);
  json["format"] = "luks";
  json["cipher-mode"] = mode;
  json["slots"] = Json::array();
  for (const auto& slot : luks.slots) {
    const bool active = slot.state == format::luks_slot_active;
    Json one{{"active", active}};
    if (active) one["iters"] = slot.iterations;
    one["key-offset"] = std::uint64_t{slot.key_offset} * format::limits::sector;
    if (active) one["stripes"] = slot.stripes;
    json["slots"].push_back(std::move(one));
  }
  json["payload-offset"] = std::uint64_t{header.payload_offset} * format::limits::sector;
  json["master-key-iters"] = header.iterations;
  return json;
}

Json specific(const Info& info) {
  const auto& header = *info.header;
  Json json{{"compat", header.has_v3() ? "1.1" : "0.10"}};
  const auto codec = header.compression();
  json["compression-type"] = !codec ? "unknown" : *codec == format::Compression::zstd ? "zstd" : "zlib";
  if (header.has_v3()) json["lazy-refcounts"] = header.lazy_refcounts();
  if (!info.bitmaps.empty()) {
    json["bitmaps"] = Json::array();
    for (const auto& one : info.bitmaps) json["bitmaps"].push_back(bitmap(one));
  }
  json["refcount-bits"] = info.geometry->refcount_bits();
  if (info.encrypted()) {
    const bool aes = header.v2.crypt_method == static_cast<std::uint32_t>(format::CryptMethod::aes);
    json["encrypt"] = info.luks ? luks(*info.luks) : Json{{"format", aes ? "aes" : "luks"}};
  }
  if (header.external_data_file()) {
    if (info.data_file_name) json["data-file"] = *info.data_file_name;
    json["data-file-raw"] = header.raw_external_data();
  }
  if (header.has_v3()) {
    json["corrupt"] = header.corrupt();
    json["extended-l2"] = header.extended_l2();
  }
  return json;
}

Json one(const InfoReport& report) {
  const auto& info = report.info;
  Json json;
  if (info.backing_format) json["backing-filename-format"] = *info.backing_format;
  if (!info.snapshots.empty()) {
    json["snapshots"] = Json::array();
    for (const auto& s : info.snapshots) json["snapshots"].push_back(snapshot(s));
  }
  json["virtual-size"] = info.virtual_size;
  json["filename"] = report.file;
  if (info.geometry) json["cluster-size"] = info.geometry->cluster_size();
  json["format"] = info.qcow2() ? "qcow2" : "raw";
  json["actual-size"] = info.actual_size;
  if (info.qcow2()) json["format-specific"] = {{"type", "qcow2"}, {"data", specific(info)}};
  if (info.backing_name)
    json["full-backing-filename"] = storage::backing_path(report.file, *info.backing_name);
  if (info.encrypted()) json["encrypted"] = true;
  if (info.backing_name) json["backing-filename"] = *info.backing_name;
  json["dirty-flag"] = info.qcow2() && info.header->dirty();
  return json;
}

// Pads with blanks by bytes, as C's printf does.
std::string left(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}
std::string right(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

std::string local_date(std::uint32_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  char text[32];
  if (::localtime_r(&time, &parts) == nullptr) return {};
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts)};
}

std::string line_of(const SnapshotLine& s) {
  const std::uint64_t ms = s.vm_clock_nsec / 1'000'000;
  const auto clock =
      fmt::format("{:02}:{:02}:{:02}.{:03}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, ms % 1000);
  return left(base::escape(s.id), 9) + ' ' + left(base::escape(s.name), 16) + ' ' +
         right(base::human_size(s.vm_state_size), 8) + right(local_date(s.date_sec), 20) + right(clock, 13) +
         right(s.icount ? fmt::format("{}", *s.icount) : "", 11) + '\n';
}

std::string snapshot_list(std::span<const format::Snapshot> snapshots) {
  std::vector<SnapshotLine> lines;
  for (const auto& s : snapshots)
    lines.push_back({.id = s.id,
                     .name = s.name,
                     .vm_state_size = s.vm_state_size(),
                     .date_sec = s.entry.date_sec,
                     .vm_clock_nsec = s.entry.vm_clock_nsec,
                     .icount = s.icount()});
  return reports::snapshot_list(lines);
}

// JSON as indented lines: blanks for the dashes of keys, "[0]:" before the items of a list.
void add_lines(std::string& out, const Json& json, unsigned indent) {
  std::size_t number = 0;
  for (const auto& [key, value] : json.items()) {
    std::string label = json.is_array() ? fmt::format("[{}]", number++) : key;
    std::ranges::replace(label, '-', ' ');
    out.append(indent, ' ');
    out += label + ':';
    if (value.is_structured()) {
      out += '\n';
      add_lines(out, value, indent + 4);
    } else {
      out += ' ' + (value.is_string() ? base::escape(value.get<std::string>()) : value.dump()) + '\n';
    }
  }
}

std::string one_text(const InfoReport& report) {
  const auto& info = report.info;
  auto out =
      fmt::format("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n",
                  base::escape(report.file), info.qcow2() ? "qcow2" : "raw",
                  base::human_size(info.virtual_size), info.virtual_size, base::human_size(info.actual_size));
  if (!info.qcow2()) return out;
  if (info.encrypted()) out += "encrypted: yes\n";
  out += fmt::format("cluster_size: {}\n", info.geometry->cluster_size());
  if (info.header->dirty()) out += "cleanly shut down: no\n";
  if (info.backing_name) {
    const auto path = storage::backing_path(report.file, *info.backing_name);
    out += "backing file: " + base::escape(*info.backing_name);
    if (path != *info.backing_name) out += fmt::format(" (actual path: {})", base::escape(path));
    out += '\n';
  }
  if (info.backing_format)
    out += fmt::format("backing file format: {}\n", base::escape(*info.backing_format));
  return out + snapshot_list(info.snapshots) + format_specific_text(info);
}

}  // namespace

std::string snapshot_list(std::span<const SnapshotLine> snapshots) {
  if (snapshots.empty()) return {};
  std::string out =
      "Snapshot list:\nID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT\n";
  for (const auto& s : snapshots) out += line_of(s);
  return out;
}

std::string format_specific_text(const analyzer::Info& info) {
  if (!info.qcow2()) return {};
  std::string out = "Format specific information:\n";
  add_lines(out, specific(info), 4);
  return out;
}

std::string info_text(std::span<const InfoReport> chain) {
  std::string out;
  for (const auto& report : chain) out += (out.empty() ? "" : "\n") + one_text(report);
  return out;
}

std::string info_json(std::span<const InfoReport> chain, bool as_chain) {
  Json json;
  if (as_chain) {
    json = Json::array();
    for (const auto& report : chain) json.push_back(one(report));
  } else {
    json = one(chain.front());
  }
  return json.dump(4, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace cowvet::reports
