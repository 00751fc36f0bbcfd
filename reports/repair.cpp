#include "reports/repair.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"
#include "reports/finding_json.hpp"
#include "reports/place.hpp"
#include "reports/report.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;
using findings::Consent;
using repair::Action;
using repair::Change;
using repair::Withheld;

namespace {

constexpr std::size_t places_shown = 5, ranges_shown = 8, bytes_shown = 16;

Judgement judge_verdict(const analyzer::Verdict& verdict) {
  return judge(Report{.file = {}, .outcome = verdict});
}

std::string hex(base::ConstBytes bytes, std::size_t most) {
  std::string text;
  for (const auto byte : bytes.first(std::min(bytes.size(), most)))
    text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

// --- JSON

Json places_json(const std::vector<repair::Place>& places) {
  Json list = Json::array();
  for (const auto& place : places) {
    Json one{{"where", base::escape(place.where)}, {"guest", Json::array()}};
    for (const auto& guest : place.guest) one["guest"].push_back(guest_json(guest));
    if (!place.evidence.empty()) one["evidence"] = base::escape(place.evidence);
    for (const auto& candidate : place.candidates)
      one["candidates"].push_back({{"where", base::escape(candidate.where)},
                                   {"guest", guest_json(candidate.guest)},
                                   {"to", candidate.to},
                                   {"evidence", base::escape(candidate.evidence)}});
    list.push_back(std::move(one));
  }
  return list;
}

template <class T>
Json head_json(const T& item) {
  return {{"rule", item.rule->name},
          {"consent", to_string(item.consent)},
          {"what", item.what},
          {"count", item.count},
          {"places", places_json(item.places)}};
}

Json action_json(const Action& action) {
  auto json = head_json(action);
  json["changed-ranges"] = action.changes;
  json["changed-bytes"] = action.bytes;
  json["changes"] = Json::array();
  for (const auto& change : action.first_changes)
    json["changes"].push_back({{"offset", change.offset},
                               {"length", change.length},
                               {"before", hex(change.before, Change::most_shown)},
                               {"after", hex(change.after, Change::most_shown)}});
  return json;
}

Json ranges_json(const repair::GuestRanges& ranges) {
  Json json{{"bytes", ranges.bytes}, {"ranges", Json::array()}};
  for (const auto& range : ranges.list) json["ranges"].push_back(guest_json(range));
  return json;
}

Json verdict_json(const analyzer::Verdict& verdict, std::uint64_t size) {
  Json rules = Json::object();
  for (std::size_t i = 0; i < findings::rule_count; ++i)
    if (const auto& count = verdict.summary.by_rule[i]; count.findings != 0)
      rules[std::string(findings::RuleId::from_index(i)->name)] = count.findings;
  return {{"verdict", to_string(judge_verdict(verdict))}, {"file-size", size}, {"rules", std::move(rules)}};
}

// --- text

std::string consent_words(Consent consent) {
  switch (consent) {
    case Consent::none: return "can't be done";
    case Consent::lossless: return "lossless";
    case Consent::frees: return "frees space";
    case Consent::choice: return "by choice";
    case Consent::lossy: return "loses data";
  }
  __builtin_unreachable();
}

std::string what_it_takes(Consent consent) {
  switch (consent) {
    case Consent::frees: return "takes --level leaks";
    case Consent::choice: return "takes --level all";
    case Consent::lossy: return "takes --level all --allow-loss";
    default: return "can't be done";
  }
}

void add_places(std::string& out, const std::vector<repair::Place>& places, std::uint64_t count,
                const TextOptions& options) {
  const std::size_t shown = options.verbose ? places.size() : std::min(places.size(), places_shown);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& place = places[i];
    std::string line = base::escape(place.where);
    for (std::size_t n = 0; n < place.guest.size() && (options.verbose || n < 3); ++n)
      line += (n == 0 ? ": " : ", ") + describe(place.guest[n]);
    if (!place.evidence.empty()) line += "; " + base::escape(place.evidence);
    out += "     " + wrapped(line, 7, options.width) + '\n';
    for (std::size_t n = 0; n < place.candidates.size() && (options.verbose || n < 3); ++n) {
      const auto& candidate = place.candidates[n];
      const auto choice =
          fmt::format("perhaps {}: {} (--choose '{}={:#x}')", describe(candidate.guest),
                      base::escape(candidate.evidence), base::escape(candidate.where), candidate.to);
      out += "       " + wrapped(choice, 9, options.width) + '\n';
    }
  }
  if (count > shown) out += fmt::format("     and {} more\n", count - shown);
}

void add_action(std::string& out, std::size_t number, const Action& action, const TextOptions& options) {
  const auto head =
      fmt::format("{:3}. {}: {} ({})", number, consent_words(action.consent), action.what, action.rule->name);
  out += wrapped(head, 5, options.width) +
         (action.count > 1 ? fmt::format(", {} places", action.count) : "") + '\n';
  add_places(out, action.places, action.count, options);
  const std::size_t shown =
      options.verbose ? action.first_changes.size() : std::min<std::size_t>(action.first_changes.size(), 2);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& change = action.first_changes[i];
    const char* const more = change.length > bytes_shown ? "…" : "";
    out += fmt::format("     bytes {:#x}, {}: {}{} -> {}{}\n", change.offset, base::human_size(change.length),
                       hex(change.before, bytes_shown), more, hex(change.after, bytes_shown), more);
  }
  if (action.changes > shown)
    out += fmt::format("     and {} more ranges of the file\n", action.changes - shown);
}

void add_ranges(std::string& out, std::string_view heading, const repair::GuestRanges& ranges) {
  if (ranges.empty()) return;
  out += fmt::format("  {}: {}\n", heading, base::human_size(ranges.bytes));
  for (std::size_t i = 0; i < ranges.list.size() && i < ranges_shown; ++i)
    out += "    " + describe(ranges.list[i]) + '\n';
  if (ranges.list.size() > ranges_shown)
    out += fmt::format("    and {} more\n", ranges.list.size() - ranges_shown);
}

void add_proof(std::string& out, const repair::Proof& proof) {
  out += "\nWhat can be read, before and after:\n";
  if (proof.equal())
    out += "  the same, in every layer\n";
  else if (proof.nothing_worse())
    out += "  all that could be read reads the same\n";
  add_ranges(out, "can be read again", proof.restored);
  if (const auto rest = proof.improved.bytes - proof.restored.bytes; rest != 0)
    out += fmt::format("  is known again to hold nothing of its own: {}\n", base::human_size(rest));
  add_ranges(out, "is told for certain now, and reads otherwise", proof.settled);
  add_ranges(out, "reads otherwise", proof.changed);
  add_ranges(out, "can't be read any more", proof.lost);
  add_ranges(out, "still can't be read", proof.unreadable);
  for (const auto& id : proof.layers_new)
    out += fmt::format("  snapshot '{}' is there again\n", base::escape(id));
  for (const auto& id : proof.layers_gone) out += fmt::format("  snapshot '{}' is gone\n", base::escape(id));
}

std::string opening(const RepairReport& report) {
  const auto& plan = report.plan;
  const auto after = judge_verdict(plan.after);
  if (!plan.changes_anything())
    return after == Judgement::sound && plan.withheld.empty() ? "there is nothing to repair"
                                                              : "nothing that this level repairs";
  const auto words = fmt::format("{} {}", plan.actions.size(), plan.actions.size() == 1 ? "step" : "steps");
  return fmt::format("{} in {}: {} before, {} {}", report.done ? "repaired" : "can be repaired", words,
                     to_string(judge_verdict(plan.before)), to_string(after), report.done ? "now" : "after");
}

Json document(const RepairReport& report) {
  const auto& plan = report.plan;
  Json json{{"schema", "cowvet.repair/1"},
            {"tool", {{"name", "cowvet"}, {"version", base::version}}},
            {"filename", base::escape(report.file)},
            {"level", to_string(report.level)},
            {"allow-loss", report.allow_loss},
            {"done", report.done},
            {"before", verdict_json(plan.before, plan.size_before)},
            {"after", verdict_json(plan.after, plan.size_after)}};
  if (!report.undo_file.empty()) json["undo-file"] = base::escape(report.undo_file);
  if (!plan.objection.empty()) json["objection"] = plan.objection;
  json["actions"] = Json::array();
  for (const auto& action : plan.actions) json["actions"].push_back(action_json(action));
  json["withheld"] = Json::array();
  for (const auto& w : plan.withheld) json["withheld"].push_back(head_json(w));
  if (plan.proof) {
    const auto& proof = *plan.proof;
    json["proof"] = {{"equal", proof.equal()},
                     {"nothing-worse", proof.nothing_worse()},
                     {"changed", ranges_json(proof.changed)},
                     {"lost", ranges_json(proof.lost)},
                     {"improved", ranges_json(proof.improved)},
                     {"restored", ranges_json(proof.restored)},
                     {"settled", ranges_json(proof.settled)},
                     {"unreadable", ranges_json(proof.unreadable)},
                     {"snapshots-gone", names_json(proof.layers_gone)},
                     {"snapshots-new", names_json(proof.layers_new)}};
  }
  return json;
}

}  // namespace

std::string_view to_string(repair::Level level) {
  switch (level) {
    case repair::Level::lossless: return "lossless";
    case repair::Level::leaks: return "leaks";
    case repair::Level::all: return "all";
  }
  __builtin_unreachable();
}

std::string repair_text(const RepairReport& report, const TextOptions& options) {
  const auto& plan = report.plan;
  std::string out = fmt::format("{}: {}\n", base::escape(report.file), opening(report));
  out += fmt::format("  before: {}\n", counted(plan.before.summary));
  if (plan.changes_anything()) out += fmt::format("  after:  {}\n", counted(plan.after.summary));
  if (!plan.actions.empty()) out += '\n';
  for (std::size_t i = 0; i < plan.actions.size(); ++i) add_action(out, i + 1, plan.actions[i], options);
  if (plan.proof) add_proof(out, *plan.proof);
  if (!plan.withheld.empty()) out += "\nNot done:\n";
  for (const auto& w : plan.withheld) {
    const auto head = fmt::format("   - {} ({}): {}", w.what, w.rule->name, what_it_takes(w.consent));
    out += wrapped(head, 5, options.width) + (w.count > 1 ? fmt::format(", {} places", w.count) : "") + '\n';
    add_places(out, w.places, w.count, options);
  }
  if (!plan.objection.empty()) out += fmt::format("\nThe plan must not be carried out: {}\n", plan.objection);
  if (report.done && !report.undo_file.empty())
    out += fmt::format("\n'cowvet undo {}' brings every byte back.\n", base::escape(report.undo_file));
  return out;
}

std::string repair_json(const RepairReport& report) { return document(report).dump(2) + "\n"; }

std::string repair_chain_json(std::string_view image, std::span<const RepairedLink> links) {
  Json json{{"schema", "cowvet.repair-chain/1"},
            {"tool", {{"name", "cowvet"}, {"version", base::version}}},
            {"filename", base::escape(image)}};
  json["images"] = Json::array();
  for (const auto& link : links) {
    Json one{{"filename", base::escape(link.file)}};
    if (!link.format.empty()) one["format"] = base::escape(link.format);
    if (!link.problem.empty()) one["problem"] = link.problem;
    if (!link.error.empty()) one["error"] = link.error;
    if (link.report) one["repair"] = document(*link.report);
    json["images"].push_back(std::move(one));
  }
  return json.dump(2) + "\n";
}

}  // namespace cowvet::reports
