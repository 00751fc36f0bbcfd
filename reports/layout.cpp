#include "reports/layout.hpp"

#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;
using analyzer::Kind;
using analyzer::LayoutRun;
using analyzer::LayoutSummary;

namespace {

std::string_view owner(const LayoutRun& run) { return run.leaked ? "leaked" : to_string(run.kind); }

}  // namespace

void LayoutTotals::add(const LayoutRun& run) {
  if (run.leaked)
    leaked_ += run.length;
  else
    bytes_[static_cast<std::size_t>(run.kind)] += run.length;
}

std::string LayoutTotals::text(const LayoutSummary& summary) const {
  std::string out = "\nTogether:\n";
  const auto line = [&](std::string_view what, std::uint64_t bytes) {
    if (bytes != 0)
      fmt::format_to(std::back_inserter(out), "  {:<18}{:>16}  {}\n", what, bytes, base::human_size(bytes));
  };
  for (std::size_t kind = 0; kind < bytes_.size(); ++kind)
    line(to_string(static_cast<Kind>(kind)), bytes_[kind]);
  line("leaked", leaked_);
  line("file", summary.file_size);
  if (summary.inferred)
    out += "The header is unusable: cluster size and tables are inferred from the content.\n";
  return out;
}

std::string LayoutTotals::json_closing(const LayoutSummary& summary) const {
  auto totals = Json::object();
  for (std::size_t kind = 0; kind < bytes_.size(); ++kind)
    if (bytes_[kind] != 0) totals[std::string(to_string(static_cast<Kind>(kind)))] = bytes_[kind];
  if (leaked_ != 0) totals["leaked"] = leaked_;
  return fmt::format("\n], \"totals\": {}, \"size\": {}, \"cluster-size\": {}, \"inferred\": {}}}\n",
                     totals.dump(), summary.file_size, summary.cluster_size, summary.inferred);
}

std::string layout_heading() {
  return fmt::format("{:<18}{:<18}{:<12}{:<18}{:>6}  {}\n", "Offset", "Length", "", "Owner", "Refs",
                     "Structure");
}

void add_layout_row(std::string& out, const LayoutRun& run) {
  fmt::format_to(std::back_inserter(out), "{:<#18x}{:<#18x}{:<12}{:<18}{:>6}", run.begin.raw(), run.length,
                 base::human_size(run.length), owner(run), run.refs);
  if (!run.where.empty()) out += "  " + base::escape(run.where);
  out += '\n';
}

std::string layout_json_opening(std::string_view file) {
  return fmt::format("{{\"schema\": \"cowvet.layout/1\", \"filename\": {}, \"runs\": [\n",
                     Json(file).dump(-1, ' ', false, Json::error_handler_t::replace));
}

void add_layout_json(std::string& out, const LayoutRun& run) {
  fmt::format_to(std::back_inserter(out), R"({{"offset": {}, "length": {}, "owner": "{}", "references": {})",
                 run.begin.raw(), run.length, owner(run), run.refs);
  if (!run.where.empty()) out += ", \"where\": " + Json(base::escape(run.where)).dump();
  out += '}';
}

}  // namespace cowvet::reports
