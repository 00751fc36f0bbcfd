// 1. The whole image is checked, since the target shares clusters with others; the findings that concern the target, or
//    that can't be told to concern something else only, stand against it.
// 2. The mapping of the present is held against the target's: where they differ, the present has something to lose.
// 3. With `deep`, every byte of the target is read as a guest would.
#include "cli/revert.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "analyzer/graph.hpp"
#include "analyzer/overlays.hpp"
#include "base/checked.hpp"
#include "base/text.hpp"
#include "cli/examination.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;
using findings::Finding;
using findings::Severity;
using reports::RevertReport;

constexpr std::size_t most_listed = 16;
constexpr std::size_t most_findings = 1000;
constexpr std::size_t most_layers = 8, most_owners = 4;  // that a finding surely names
constexpr std::uint64_t piece = 1 << 20;                 // bytes read at once

void lose(RevertReport& report, std::uint64_t begin, std::uint64_t length) {
  report.lost_bytes += length;
  if (!report.lost.empty() && report.lost_ranges == report.lost.size() &&
      report.lost.back().begin + report.lost.back().length == begin) {
    report.lost.back().length += length;
    return;
  }
  ++report.lost_ranges;
  if (report.lost.size() < most_listed) report.lost.push_back({begin, length});
}

// Whether `text` is the path of a structure of snapshot `index`.
bool is_of(const std::string& text, std::size_t index) {
  const auto prefix = fmt::format("snapshot[{}]", index);
  return text == prefix || text.starts_with(prefix + '.');
}

// Whether a finding is about the active layer or other snapshots alone.
bool concerns_others_only(const Finding& finding, const std::string& id, std::size_t index) {
  if (finding.snapshot == id || is_of(finding.where, index)) return false;
  const auto target = [&](const findings::GuestRange& range) { return range.snapshot == id; };
  if (std::ranges::any_of(finding.guest, target)) return false;
  // Of very many layers and owners a finding names the first few: the target may be among the others.
  if (finding.guest.size() >= most_layers || finding.owners.size() >= most_owners) return false;
  for (const auto& owner : finding.owners)
    if (is_of(owner.where, index) || (owner.guest && target(*owner.guest))) return false;
  if (!finding.snapshot.empty() || !finding.guest.empty()) return true;
  // Tables of the active layer, bitmaps and other snapshots: nothing of them is read when going back.
  for (const auto* const other : {"l1[", "l2[", "bitmap", "snapshot["})
    if (finding.where.starts_with(other)) return true;
  return false;
}

// Findings that stand against the target.
void judge(RevertReport& report, const analyzer::Verdict& verdict, const std::string& id, std::size_t index) {
  for (const auto& finding : verdict.findings) {
    if (finding.severity < Severity::error) continue;
    if (concerns_others_only(finding, id, index))
      ++report.elsewhere;
    else
      report.findings.push_back(finding);
  }
  // Of very many findings of a rule, some are counted only: whom they concern is not known.
  for (std::size_t i = 0; i < findings::rule_count; ++i) {
    const auto rule = findings::RuleId::from_index(i);
    if (verdict.summary.gravest[i] >= Severity::error && verdict.summary.of(rule).findings > most_findings)
      report.obstacles.push_back(
          fmt::format("{} errors of {}: whether all concern something else is not known",
                      verdict.summary.of(rule).findings, rule->name));
  }
  if (!report.findings.empty())
    report.obstacles.push_back(
        fmt::format("what it consists of is damaged: {}", reports::some(report.findings.size(), "error")));
  if (!verdict.complete)
    report.obstacles.push_back("not everything could be examined: " + verdict.incomplete);
  if (!verdict.header || !verdict.geometry) report.obstacles.push_back("the image's header can't be used");
}

// Where the present has data that the target has not, or not in the same place.
void compare(RevertReport& report, const engine::Disk& now, const engine::Disk* then,
             base::Progress& progress) {
  const std::uint64_t size = now.size(), common = then != nullptr ? std::min(size, then->size()) : 0;
  for (std::uint64_t at = 0; at < size && !progress.stop_requested();) {
    const auto present = now.extent(base::GuestOffset{at}, (at < common ? common : size) - at);
    if (!present) {
      report.loss_unknown = present.error().message;
      return;
    }
    std::uint64_t length = present->length;
    bool same = !present->allocated;
    if (at < common) {
      const auto past = then->extent(base::GuestOffset{at}, length);
      if (!past) {
        report.loss_unknown = past.error().message;
        return;
      }
      length = past->length;
      same = past->allocated == present->allocated && past->zero == present->zero &&
             past->data == present->data && (!past->data || past->host == present->host);
    }
    if (!same) lose(report, at, length);
    at += length;
  }
}

base::Result<void> read_all(RevertReport& report, const engine::Disk& disk, base::Progress& progress) {
  std::vector<std::byte> buffer(piece);
  progress.expect(disk.size());
  std::uint64_t failures = 0;
  for (std::uint64_t at = 0; at < disk.size(); at += piece) {
    if (progress.stop_requested()) return base::fail(ErrorKind::cancelled, "stopped before all was read");
    const auto into = std::span(buffer).first(static_cast<std::size_t>(std::min(piece, disk.size() - at)));
    if (const auto read = disk.read(base::GuestOffset{at}, into); !read && failures++ < most_listed)
      report.obstacles.push_back(read.error().message);
    progress.advance(into.size());
  }
  if (failures > most_listed) report.obstacles.push_back(fmt::format("and {} more", failures - most_listed));
  return {};
}

void find_room(RevertReport& report) {
  std::error_code error;
  const auto space = std::filesystem::space(analyzer::folder_of(report.file), error);
  if (!error) report.undo_has = space.available;
}

base::Result<reports::Report> checked(const std::string& file, bool deep, const DiskWords& words,
                                      base::Progress& progress) {
  Shared shared;
  shared.force_share = words.force_share;
  shared.io = words.io;
  auto report = examine(file, shared, {.deep = deep, .max_findings = most_findings}, false, progress);
  if (!report.outcome) return std::unexpected(report.outcome.error());
  return report;
}

// Errors between the image and the files below it, and in the check of each of those.
base::Result<analyzer::Graph> judge_below(RevertReport& report, const RevertQuestion& question,
                                          const DiskWords& words, base::Progress& progress) {
  const analyzer::GraphOptions options;
  auto graph = analyzer::read_graph({question.image}, options,
                                    [](const std::string& file) { return open_quietly(file, {}); });
  if (!graph) return graph;
  analyzer::check_graph(*graph, options);
  const auto before = report.findings.size();
  std::vector<bool> seen(graph->nodes.size());
  for (std::optional<std::size_t> at = 0; at && !seen[*at]; at = graph->nodes[*at].below) {
    seen[*at] = true;
    const auto& node = graph->nodes[*at];
    for (const auto& finding : node.findings)
      if (finding.severity >= Severity::error) report.findings.push_back(finding);
    if (node.kind == analyzer::NodeKind::not_followed)
      report.obstacles.push_back(fmt::format("'{}' {}", node.file, node.problem));
    if (*at == 0 || node.kind != analyzer::NodeKind::image || node.probed != "qcow2") continue;
    const auto verdict = checked(node.file, question.deep, words, progress);
    if (!verdict) return std::unexpected(verdict.error());
    for (const auto& finding : verdict->outcome->findings)
      if (finding.severity >= Severity::error) report.findings.push_back(finding);
    if (!verdict->outcome->complete)
      report.obstacles.push_back(
          fmt::format("'{}' could not be examined: {}", node.file, verdict->outcome->incomplete));
  }
  if (const auto errors = report.findings.size() - before; errors != 0)
    report.obstacles.push_back(
        fmt::format("what the image stands on is damaged: {}", reports::some(errors, "error")));
  return graph;
}

base::Result<RevertReport> internal(const RevertQuestion& question, const DiskWords& words,
                                    base::Progress& progress) {
  RevertReport report;
  report.file = question.image;
  report.deep = question.deep;
  // What the image says of itself, even where QEMU would not open it any more.
  const auto device = open_quietly(question.image, {});
  if (!device) return std::unexpected(device.error());
  const auto info = analyzer::read_info(**device, analyzer::Format::qcow2);
  if (!info) return std::unexpected(info.error());
  const auto& list = info->snapshots;
  auto found = std::ranges::find(list, question.snapshot, &format::Snapshot::id);
  if (found == list.end()) found = std::ranges::find(list, question.snapshot, &format::Snapshot::name);
  if (found == list.end())
    return base::fail(ErrorKind::usage,
                      fmt::format("there is no snapshot '{}' that could be read: see cowvet snapshot -l",
                                  base::escape(question.snapshot)));
  const auto index = static_cast<std::size_t>(found - list.begin());
  report.target = fmt::format("{} '{}'", found->id, found->name);
  report.size_now = info->virtual_size;
  report.size_then = found->disk_size_bytes().value_or(info->virtual_size);
  report.vm_state = found->vm_state_size();
  for (const auto& bitmap : info->bitmaps) report.bitmaps.push_back(bitmap.name);

  const auto verdict = checked(question.image, question.deep, words, progress);
  if (!verdict) return std::unexpected(verdict.error());
  judge(report, *verdict->outcome, found->id, index);
  if (!question.alone && info->backing_name)
    if (const auto below = judge_below(report, question, words, progress); !below)
      return std::unexpected(below.error());
  if (info->header->external_data_file())
    report.obstacles.push_back("an image with an external data file has no usable snapshots");
  if (info->header->corrupt())
    report.obstacles.push_back("the image is marked as corrupt: it can't be written before it is repaired");

  const auto& g = *info->geometry;
  const std::uint64_t table = base::saturating_mul(info->header->v2.l1_size, 8);
  // A copy of the L1 table for the snapshot, another for going back, a new snapshot table, and refcounts for them.
  report.undo_needs = (2 * base::divide_up(table, g.cluster_size()) + 3) * g.cluster_size();
  if (info->header->v3.refcount_order == 0)
    report.no_undo = "refcounts of one bit allow no snapshot to be taken";
  find_room(report);

  const auto now =
      open_disk(question.image, words, {.format = engine::ImageFormat::qcow2, .no_backing = true});
  auto then =
      open_disk(question.image, words,
                {.format = engine::ImageFormat::qcow2, .no_backing = !question.deep, .snapshot = found->id});
  if (!now)
    report.loss_unknown = now.error().message;
  else if (!then)
    report.loss_unknown = then.error().message;
  else
    compare(report, (*now)->disk(), &(*then)->disk(), progress);
  if (!then) report.obstacles.push_back("it can't be opened: " + then.error().message);
  if (question.deep && then)
    if (auto read = read_all(report, (*then)->disk(), progress); !read) return std::unexpected(read.error());
  return report;
}

base::Result<void> judge_overlay(RevertReport& report, const RevertQuestion& question, const DiskWords& words,
                                 base::Progress& progress) {
  const auto graph = judge_below(report, question, words, progress);
  if (!graph) return std::unexpected(graph.error());
  const auto& top = graph->nodes.front();
  if (!top.below)
    return base::fail(
        ErrorKind::usage,
        "has no backing file: discarding it would leave nothing (--snapshot NAME for one inside it)");
  report.target = graph->nodes[*top.below].file;
  const auto& info = *top.info;
  report.size_now = report.size_then = info.virtual_size;
  if (const auto& below = graph->nodes[*top.below].info) report.size_then = below->virtual_size;
  for (const auto& bitmap : info.bitmaps) report.bitmaps.push_back(bitmap.name);
  for (const auto& snapshot : info.snapshots) report.snapshots.push_back(snapshot.name);
  report.undo_needs = top.allocated;
  return {};
}

base::Result<RevertReport> external(const RevertQuestion& question, const DiskWords& words,
                                    base::Progress& progress) {
  RevertReport report;
  report.file = question.image;
  report.external = true;
  report.deep = question.deep;
  if (auto judged = judge_overlay(report, question, words, progress); !judged)
    return std::unexpected(judged.error());
  const std::vector<std::string> folders{analyzer::folder_of(question.image)};
  if (const auto overlays = analyzer::find_overlays(question.image, folders))
    for (const auto& overlay : *overlays)
      report.obstacles.push_back(fmt::format("'{}' stands on it, and would lose its backing file", overlay));
  find_room(report);
  const auto now =
      open_disk(question.image, words, {.format = engine::ImageFormat::qcow2, .no_backing = true});
  if (now)
    compare(report, (*now)->disk(), nullptr, progress);
  else
    report.loss_unknown = now.error().message;
  if (question.deep && report.safe()) {
    const auto whole = open_disk(question.image, words, {.format = engine::ImageFormat::qcow2});
    if (!whole)
      report.obstacles.push_back(whole.error().message);
    else if (auto* const below = (*whole)->backing(); below != nullptr)
      if (auto read = read_all(report, below->disk(), progress); !read) return std::unexpected(read.error());
  }
  return report;
}

}  // namespace

base::Result<RevertReport> question_revert(const RevertQuestion& question, const DiskWords& words,
                                           base::Progress& progress) {
  auto report =
      question.snapshot.empty() ? external(question, words, progress) : internal(question, words, progress);
  if (report && progress.stop_requested())
    return base::fail(ErrorKind::cancelled, "stopped before the answer was known");
  return report;
}

}  // namespace cowvet::cli
