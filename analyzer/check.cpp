// 1. The header and everything it names is read and judged; each structure that owns clusters becomes a region.
// 2. The refcount table is read: its blocks are metadata too.
// 3. The mapping of all layers is walked once; every reference is counted into the label map, every entry judged.
// 4. Labels are compared with the refcounts on disk. Clusters with several owners get a closer look, and what leaked
// clusters hold is remembered.
// 5. If the labels did not fit into memory, 3 and 4 are repeated for the next stretch of the file, without
// judging again.
// 6. When the whole file is counted, leaks and L2 tables with too high a refcount are explained: what was lost?
// 7. Compressed streams are held against each other; --deep decodes them and reads all data.
// 8. The findings that are kept get their owners.
// All of it is done again with another value in one field of the header when so much is wrong that the field
// may be why.
#include "analyzer/check.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "analyzer/compressed_streams.hpp"
#include "analyzer/copied_flags.hpp"
#include "analyzer/deep.hpp"
#include "analyzer/header_checks.hpp"
#include "analyzer/held_tables.hpp"
#include "analyzer/image.hpp"
#include "analyzer/leaks.hpp"
#include "analyzer/lost_tables.hpp"
#include "analyzer/mapping_checks.hpp"
#include "analyzer/overlaps.hpp"
#include "analyzer/raw_data_file.hpp"
#include "analyzer/readings.hpp"
#include "analyzer/refcounts.hpp"
#include "analyzer/scrap.hpp"
#include "analyzer/stale_bitmaps.hpp"
#include "analyzer/tail.hpp"
#include "analyzer/walk.hpp"
#include "base/parallel.hpp"
#include "storage/overlay.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;

namespace {

class Check {
 public:
  Check(Image& image, Verdict& verdict) : image_(image), verdict_(verdict), g_(*image.geometry) {}

  base::Result<void> run() {
    const unsigned jobs = image_.options.jobs != 0 ? image_.options.jobs : base::default_jobs();
    Refcounts refcounts(image_);
    MetadataMap metadata(std::exchange(image_.regions, {}));  // thousands of snapshots have many
    refcounts.read_table(metadata);
    metadata.seal(g_);
    MappingWalk walk(image_, metadata, refcounts, jobs);

    auto labels = LabelMap::make(base::divide_up(image_.eof, g_.cluster_size()), label_budget(image_));
    if (!labels) return std::unexpected(labels.error());
    std::uint64_t highest_used = 0;
    std::uint64_t beyond_eof = 0;
    Reach reach;
    LeakSurvey survey(image_, walk.rules());
    std::vector<Mismatch> held;
    std::vector<EmptyTable> empty_tables;
    bool any_compressed = false;
    bool any_clear_copied = false;
    for (bool first_window = true;; first_window = false) {
      metadata.label(**labels, g_);
      refcounts.label_blocks(**labels);
      MappingChecks checks(image_, walk, metadata, **labels, first_window);
      if (auto walked = walk.run(checks); !walked) return walked;
      if (first_window) {
        verdict_.statistics = checks.statistics();
        reach = checks.reach();
        any_compressed = checks.saw_compressed();
        any_clear_copied = checks.saw_clear_copied();
        empty_tables = checks.empty_tables();
        report_repeated_tables(image_, walk);
        report_walk_cost(image_, checks);
      }
      const auto compared =
          refcounts.compare(**labels, jobs, Refcounts::Voice::report, [&](const Mismatch& leak) {
            if (!image_.trial && leak.label.kind == Kind::free && leak.first < labels.value()->clusters())
              survey.look_at(leak.first, leak.count);
          });
      held.insert(held.end(), compared.held.begin(), compared.held.end());
      highest_used = std::max(highest_used, compared.highest_used);
      beyond_eof += compared.counted_beyond_eof;
      if (any_clear_copied)
        if (auto done = report_clear_copied(image_, walk, **labels, refcounts); !done) return done;
      if (auto done = report_overlaps(image_, walk, metadata, **labels); !done) return done;
      if (image_.options.deep) examine_free(image_, walk, **labels, compared.leaks);
      if (!labels.value()->advance()) break;
    }
    verdict_.statistics.total_clusters = g_.clusters(image_.header.v2.size);
    verdict_.statistics.image_end_offset = highest_used << g_.cluster_bits();
    if (image_.trial) {
      for (const auto& table : held) refcounts.report(table);
      return {};
    }
    survey.finish();
    const auto scrap = read_scrap(image_, walk, metadata);
    if (!scrap) return std::unexpected(scrap.error());
    if (auto done = report_held_tables(image_, walk, metadata, refcounts, held, *scrap); !done) return done;
    const LeakEvidence evidence{.survey = survey,
                                .empty_tables = empty_tables,
                                .scrap = *scrap,
                                .cut = file_was_cut(reach, beyond_eof)};
    if (auto done = explain_leaks(image_, walk, metadata, refcounts, evidence); !done) return done;
    check_tail(image_, metadata, reach, highest_used, beyond_eof);
    if (any_compressed)
      if (auto done = check_compressed_streams(image_, walk); !done) return done;
    if (image_.options.deep)
      if (auto done = check_deep(image_, walk); !done) return done;
    if (image_.options.deep && image_.options.data_file != nullptr && image_.header.raw_external_data())
      if (auto done = check_raw_data_file(image_, walk, *image_.options.data_file); !done) return done;

    verdict_.findings = image_.findings.take_sorted();
    explain_stale_leaks(image_, verdict_.findings);
    return name_owners(image_, walk, metadata, verdict_.findings);
  }

 private:
  Image& image_;
  Verdict& verdict_;
  const format::Geometry g_;
};

void judge_l1_length(Image& image) {
  const auto& header = image.header.v2;
  const std::uint64_t needed = image.geometry->l1_entries(header.size);
  if (!image.l1_usable || header.l1_size <= needed) return;
  // A snapshot with VM state, or of a larger disk, has a table as long: that is where the length comes from.
  if (std::ranges::any_of(image.snapshots,
                          [&](const auto& s) { return s.data.entry.l1_size >= header.l1_size; }))
    return;
  image.report(header_finding<&format::HeaderV2::l1_size>(image, "l1/oversized"_rule)
                   .wanted(findings::Value::dec(needed)));
}

// The kept findings of what came after the walk join those that the walk took.
void take_rest(Verdict& verdict, findings::Collector& findings) {
  auto kept = findings.take_sorted();
  verdict.findings.insert(verdict.findings.end(), std::make_move_iterator(kept.begin()),
                          std::make_move_iterator(kept.end()));
  std::ranges::sort(verdict.findings);
  verdict.summary = findings.summary();
}

enum class Purpose : std::uint8_t { report, trial, report_reread };

// One reading of the image: the device's, which may show another header than the file's.
base::Result<Verdict> check_reading(const storage::Device& device, const Options& options,
                                    findings::Collector& findings, base::Progress& progress,
                                    Purpose purpose = Purpose::report) {
  Verdict verdict;
  Image image(device, options, findings, progress);
  const bool reread = purpose == Purpose::report_reread;
  image.reread = reread;
  image.trial = purpose == Purpose::trial;
  read_structures(image);
  if (image.geometry) {
    judge_l1_length(image);
    Check walk(image, verdict);
    if (auto done = walk.run(); !done) {
      if (done.error().kind != base::ErrorKind::limit) return std::unexpected(done.error());
      image.report(Finding{"refcount/incomplete"_rule}.at("l1").saying(done.error().message));
      verdict.complete = false;
      verdict.incomplete = done.error().message;
    }
  }
  if (reread) image.doubt("the header contradicts the rest of the image");
  verdict.header = image.header;
  verdict.geometry = image.geometry;
  verdict.recognised = image.geometry || image.header.v2.magic == format::qcow_magic;
  verdict.inferred = image.inferred || reread;
  verdict.header_lost = image.header_lost;
  verdict.orphans = std::move(image.orphans);
  if (verdict.geometry && !image.trial) verdict.lost_snapshots = std::move(image.unlisted);
  verdict.backing_name = image.backing_name;
  verdict.doubts = std::move(image.doubts);
  take_rest(verdict, findings);
  return verdict;
}

// The reading under which the least is wrong, if it explains what is wrong with the stored one.
std::optional<Reading> find_reading(const storage::Device& device, const Options& options,
                                    base::Progress& progress, const Verdict& stored) {
  Options quick = options;
  quick.deep = false;
  std::optional<Reading> best;
  std::uint64_t least = 0;
  for (auto& reading : other_readings(device, stored)) {
    storage::Overlay overlay(device);
    if (!overlay.write(reading.finding.host->begin.raw(), reading.bytes())) continue;
    findings::Collector unheard(0);
    const auto verdict = check_reading(overlay, quick, unheard, progress, Purpose::trial);
    if (!verdict || !explains(*verdict, stored)) continue;
    const std::uint64_t wrong = wrong_clusters(*verdict);
    if (best && wrong >= least) continue;
    best = std::move(reading);
    least = wrong;
  }
  return best;
}

// Reads the image anew when another value in one field of the header explains what is wrong with it.
base::Result<Verdict> reconsider(const storage::Device& device, const Options& options,
                                 findings::Collector& findings, base::Progress& progress, Verdict&& stored) {
  if (!worth_other_readings(stored)) return std::move(stored);
  auto reading = find_reading(device, options, progress, stored);
  if (!reading) return std::move(stored);
  storage::Overlay overlay(device);
  if (!overlay.write(reading->finding.host->begin.raw(), reading->bytes())) return std::move(stored);
  findings.clear();
  auto verdict = check_reading(overlay, options, findings, progress, Purpose::report_reread);
  if (!verdict) return verdict;
  reading->finding.inferred = true;
  reading->finding.guest.push_back({base::GuestOffset{0}, verdict->header->v2.size, ""});
  reading->finding.detail =
      fmt::format("As the header says, something is wrong with {} clusters; read like this, with {}.",
                  wrong_clusters(stored), wrong_clusters(*verdict));
  findings.add(std::move(reading->finding));
  return verdict;
}

}  // namespace

std::uint64_t least_memory() { return LabelMap::least_budget(); }

base::Result<Verdict> check(const storage::Device& device, const Options& options,
                            findings::Collector& findings, base::Progress& progress) {
  const auto before = device.identity();
  auto verdict = check_reading(device, options, findings, progress);
  if (verdict) verdict = reconsider(device, options, findings, progress, std::move(*verdict));
  if (!verdict) return verdict;
  if (options.in_use) findings.add(Finding{"file/in-use"_rule}.at("file"));
  if (before != device.identity()) findings.add(Finding{"file/changed-during-check"_rule}.at("file"));
  for (const auto& finding : options.of_the_chain) findings.add(Finding(finding));
  take_rest(*verdict, findings);
  return verdict;
}

}  // namespace cowvet::analyzer
