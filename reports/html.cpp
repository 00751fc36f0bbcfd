#include "reports/html.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/version.hpp"
#include "reports/advice.hpp"
#include "reports/markup.hpp"
#include "reports/place.hpp"
#include "reports/stake.hpp"

namespace cowvet::reports {

namespace {

constexpr std::string_view head = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cowvet check</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h2 { overflow-wrap: anywhere; border-top: 1px solid #8884; padding-top: 1rem; }
  .verdict { font-weight: 600; padding: .5rem .75rem; border-left: .4rem solid; }
  .sound { border-color: #2a7d3c; } .leaks { border-color: #1f7a8c; }
  .damaged, .unreadable, .not-qcow2, .not-examined { border-color: #b3261e; }
  .fatal, .error { color: #b3261e; } .warning { color: #8a6100; } .leak { color: #1f7a8c; } .note { color: #777; }
  @media (prefers-color-scheme: dark) { .fatal, .error { color: #ff8a80; } .warning { color: #e6b450; } }
  code { font-size: .9em; overflow-wrap: anywhere; }
  table { border-collapse: collapse; } td, th { text-align: left; padding: .1rem 1rem .1rem 0; }
</style>
</head>
<body>
<h1>cowvet check</h1>
)";

std::string group_section(const Group& group) {
  const auto& rule = *group.rule;
  auto out = fmt::format(
      "<h3><span class=\"{0}\">{0}</span> <code>{1}</code> ({2}): {3}</h3>\n<p>{4} {5}</p>\n<ul>\n",
      to_string(group.severity), rule.name, rule.code, markup_safe(rule.title), markup_safe(rule.consequence),
      markup_safe(rule.explanation));
  for (const auto* finding : group.kept)
    out += fmt::format("<li><code>{}</code></li>\n", markup_safe(place(*finding, PlaceDetail::all)));
  if (const auto more = group.count.findings - group.kept.size(); more > 0)
    out += fmt::format("<li>and {} more</li>\n", more);
  return out + "</ul>\n";
}

std::string section(const Report& report) {
  const auto judgement = judge(report);
  const auto why = report.outcome ? meaning(report) : report.outcome.error().message;
  auto out = fmt::format("<section>\n<h2>{0}</h2>\n<p class=\"verdict {1}\">{1}: {2}</p>\n",
                         markup_safe(report.file), to_string(judgement), markup_safe(why));
  if (report.outcome && judgement != Judgement::not_qcow2) {
    const auto& verdict = *report.outcome;
    out += fmt::format("<p>{}</p>\n", counted(verdict.summary));
    if (const auto words = stakes_in_words(verdict); !words.empty())
      out += fmt::format("<p>At stake: {}</p>\n", markup_safe(words));
    if (!verdict.complete)
      out += fmt::format("<p>Not everything was examined: {}</p>\n", markup_safe(verdict.incomplete));
    out += fmt::format("<table>\n<tr><th>File</th><td>{} bytes, first bytes fnv1a64:{:016x}</td></tr>\n",
                       report.file_size, report.header_digest);
    if (verdict.header && verdict.geometry)
      out += fmt::format("<tr><th>Disk</th><td>{}, clusters of {}{}</td></tr>\n",
                         base::human_size(verdict.header->v2.size),
                         base::human_size(verdict.geometry->cluster_size()),
                         verdict.inferred ? ", inferred from the content" : "");
    const auto& s = verdict.statistics;
    out += fmt::format(
        "<tr><th>Clusters</th><td>{} of {} allocated, {} fragmented, {} compressed</td></tr>\n</table>\n",
        s.allocated_clusters, s.total_clusters, s.fragmented_clusters, s.compressed_clusters);
    const auto groups = grouped(verdict);
    for (const auto& group : groups) out += group_section(group);
    if (const auto steps = advice(verdict, groups, judgement); !steps.empty()) {
      out += "<h3>What to do</h3>\n<ol>\n";
      for (const auto& step : steps) out += fmt::format("<li>{}</li>\n", markup_safe(step));
      out += "</ol>\n";
    }
  }
  return out + "</section>\n";
}

}  // namespace

std::string html(std::span<const Report> reports) {
  std::string out{head};
  for (const auto& report : reports) out += section(report);
  return out + fmt::format("<footer><p>cowvet {}</p></footer>\n</body>\n</html>\n", base::version);
}

}  // namespace cowvet::reports
