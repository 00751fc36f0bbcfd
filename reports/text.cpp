#include "reports/text.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"
#include "reports/advice.hpp"
#include "reports/place.hpp"
#include "reports/stake.hpp"

namespace cowvet::reports {

using findings::Consent;
using findings::Severity;

namespace {

constexpr std::size_t examples_shown = 5;

// Writes with or without colours.
class Paint {
 public:
  explicit Paint(bool on) : on_(on) {}
  [[nodiscard]] std::string operator()(std::string_view code, std::string_view text) const {
    return on_ ? fmt::format("\033[{}m{}\033[0m", code, text) : std::string(text);
  }

 private:
  bool on_;
};

std::string_view color_of(Severity severity) {
  switch (severity) {
    case Severity::note: return "2";
    case Severity::warning: return "33";
    case Severity::leak: return "36";
    case Severity::error:
    case Severity::fatal: return "1;31";
  }
  __builtin_unreachable();
}

std::string_view color_of(Judgement judgement) {
  switch (judgement) {
    case Judgement::sound: return "1;32";
    case Judgement::leaks: return "1;36";
    default: return "1;31";
  }
}

std::string_view repair_prospect(Consent consent) {
  switch (consent) {
    case Consent::none: return "";
    case Consent::lossless: return " It can be mended without loss.";
    case Consent::frees: return " Mending it gives the space back.";
    case Consent::choice: return " Mending it needs a decision for this image.";
    case Consent::lossy: return " Mending it discards information.";
  }
  __builtin_unreachable();
}

void add_group(std::string& out, const Group& group, const TextOptions& options, const Paint& paint) {
  const auto& rule = *group.rule;
  out += fmt::format("\n{} {} ({}): {}", paint(color_of(group.severity), to_string(group.severity)),
                     rule.name, rule.code, rule.title);
  if (group.count.findings > 1) out += fmt::format(", {} times", group.count.findings);
  const auto paragraph = [&](const std::string& prose) { out += "\n  " + wrapped(prose, 2, options.width); };
  paragraph(std::string(rule.consequence) + std::string(repair_prospect(rule.consent)));
  if (options.verbose) paragraph(std::string(rule.explanation));
  const std::size_t shown = options.verbose ? group.kept.size() : std::min(group.kept.size(), examples_shown);
  for (std::size_t i = 0; i < shown; ++i)
    out += "\n    " + wrapped(place(*group.kept[i], options.verbose ? PlaceDetail::all : PlaceDetail::some),
                              6, options.width);
  if (const auto more = group.count.findings - shown; more > 0) out += fmt::format("\n    and {} more", more);
  out += '\n';
}

void add_advice(std::string& out, const std::vector<std::string>& steps, unsigned width) {
  if (steps.empty()) return;
  out += "\nWhat to do:\n";
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto number = fmt::format("  {}. ", i + 1);
    out += number + wrapped(steps[i], static_cast<unsigned>(number.size()), width) + '\n';
  }
}

void add_facts(std::string& out, const analyzer::Verdict& verdict) {
  if (verdict.header && verdict.geometry) {
    const auto& header = *verdict.header;
    out += fmt::format("  qcow2 version {}, disk of {}, clusters of {}{}{}\n", header.v2.version,
                       base::human_size(header.v2.size), base::human_size(verdict.geometry->cluster_size()),
                       header.v2.nb_snapshots == 0 ? "" : ", " + some(header.v2.nb_snapshots, "snapshot"),
                       verdict.inferred ? "; inferred from the content, the header is unusable" : "");
  }
}

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

// qemu-img's two closing lines.
void add_statistics(std::string& out, const analyzer::Statistics& s) {
  if (s.total_clusters != 0 && s.allocated_clusters != 0)
    out +=
        fmt::format("\n{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n",
                    s.allocated_clusters, s.total_clusters, percent(s.allocated_clusters, s.total_clusters),
                    percent(s.fragmented_clusters, s.allocated_clusters),
                    percent(s.compressed_clusters, s.allocated_clusters));
  if (s.image_end_offset != 0) out += fmt::format("Image end offset: {}\n", s.image_end_offset);
}

// What was repaired, in qemu-img's words.
std::string fixed(const Repairs& repairs) {
  if (repairs.leaks_fixed == 0 && repairs.corruptions_fixed == 0) return {};
  return fmt::format(
      "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} "
      "corruptions\n\n"
      "Double checking the fixed image now...\n",
      repairs.leaks_fixed, repairs.corruptions_fixed);
}

std::string_view what_check_takes(Consent consent) {
  switch (consent) {
    case Consent::none: return "can't be done";
    case Consent::lossless: return "takes -r";
    case Consent::frees: return "takes -r leaks";
    case Consent::choice: return "takes -r all";
    case Consent::lossy: return "something would be lost: takes -r all --allow-loss";
  }
  __builtin_unreachable();
}

void add_repairs(std::string& out, const Repairs& repairs, const TextOptions& options) {
  if (!repairs.withheld.empty()) out += "\nNot repaired ('cowvet repair --plan' says more):\n";
  for (const auto& one : repairs.withheld)
    out += "  - " +
           wrapped(fmt::format("{} ({}): {}", one.what, one.rule->name, what_check_takes(one.consent)), 4,
                   options.width) +
           (one.count > 1 ? fmt::format(", {} places", one.count) : "") + '\n';
  if (!repairs.undo_file.empty())
    out += fmt::format("\n'cowvet undo {}' brings every byte back.\n", base::escape(repairs.undo_file));
}

}  // namespace

std::string wrapped(std::string_view prose, unsigned indent, unsigned width) {
  std::string out;
  std::size_t column = indent;
  while (!prose.empty()) {
    const auto blank = std::min(prose.find(' '), prose.size());
    const auto word = prose.substr(0, blank);
    prose.remove_prefix(std::min(blank + 1, prose.size()));
    if (column > indent && column + 1 + word.size() > width) {
      out += '\n';
      out.append(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

std::string text(const Report& report, const TextOptions& options) {
  const Paint paint(options.color);
  const auto judgement = judge(report);
  std::string out = report.repairs ? fixed(*report.repairs) : "";
  out +=
      fmt::format("{}: {}: {}", base::escape(report.file), paint(color_of(judgement), to_string(judgement)),
                  judgement == Judgement::not_examined ? report.outcome.error().message : meaning(report));
  out += '\n';
  if (!report.outcome || judgement == Judgement::not_qcow2) return out;

  const auto& verdict = *report.outcome;
  const auto groups = grouped(verdict);
  out += fmt::format("  {}\n", counted(verdict.summary));
  if (!verdict.complete)
    out += fmt::format("  not everything was examined: {}\n", base::escape(verdict.incomplete));
  if (verdict.backing_name)
    out += fmt::format("  the backing file was not looked at: {}\n", base::escape(*verdict.backing_name));
  add_facts(out, verdict);
  for (const auto& group : groups)
    if (options.verbose || group.severity > Severity::note) add_group(out, group, options, paint);
  if (const auto notes = verdict.summary.of(Severity::note).findings; notes > 0 && !options.verbose)
    out += fmt::format("\n{} note{} on legal but unusual things: shown with --verbose\n", notes,
                       notes == 1 ? "" : "s");
  add_advice(out, advice(verdict, groups, judgement), options.width);
  if (report.repairs) add_repairs(out, *report.repairs, options);
  add_statistics(out, verdict.statistics);
  return out;
}

}  // namespace cowvet::reports
