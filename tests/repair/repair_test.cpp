// The laws of repairing, over every damaged image of the corpus: a lossless plan changes nothing that can be
// read, a second repair finds nothing to do, what a repair claims is what a check of the result says, and the
// image is only read. What the rules' rows say of remedies is what the plans do.
#include "repair/repair.hpp"

#include <map>
#include <set>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "analyzer/check.hpp"
#include "corpus/builder/cases.hpp"
#include "tests/repair/images.hpp"

namespace cowvet::repair {
namespace {

using namespace findings::literals;
using findings::Consent;
using findings::Severity;
using testing_images::Devices;
using testing_images::must;
using testing_images::put;

struct Wish {
  Level level;
  bool allow_loss;
};
constexpr Wish wishes[] = {
    {Level::lossless, false}, {Level::leaks, false}, {Level::all, false}, {Level::all, true}};

Options options_for(const Wish& wish, const Devices& devices) {
  return {.level = wish.level,
          .allow_loss = wish.allow_loss,
          .jobs = 1,
          .assume_qcow2 = true,
          .data_file = devices.data ? &*devices.data : nullptr};
}

std::vector<std::byte> content(const storage::Device& device) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(device.size()));
  (void)device.read(0, bytes);
  return bytes;
}

std::uint64_t grave(const analyzer::Verdict& verdict) {
  return verdict.summary.of(Severity::error).findings + verdict.summary.of(Severity::fatal).findings;
}

std::string told(const Plan& plan) {
  std::string text;
  for (const auto& action : plan.actions)
    text += fmt::format(
        "  {} ({}), {} x {}\n", action.what, action.rule->name, action.count,
        action.places.empty() ? "" : action.places.front().where + " " + action.places.front().evidence);
  for (const auto& w : plan.withheld) text += fmt::format("  not: {} ({})\n", w.what, w.rule->name);
  for (const auto& f : plan.after.findings)
    if (f.severity > Severity::warning)
      text += fmt::format("  after: {} at {} {}\n", f.rule->name, f.where, f.detail);
  return text;
}

// What plans did for a rule, all of them being allowed.
struct Done {
  std::set<Consent> consents;  // of the actions that name it
  bool mended = false;         // a case of its own, or one that they mend, has it no more
};
using DoneByRule = std::map<std::string_view, Done>;

void note(const Plan& plan, const corpus::Case& one, DoneByRule& done) {
  const auto has = [](const analyzer::Verdict& verdict, findings::RuleId rule) {
    return std::ranges::any_of(verdict.findings, [&](const auto& finding) { return finding.rule == rule; });
  };
  const auto take = [&](findings::RuleId rule) {
    if (has(plan.before, rule) && !has(plan.after, rule)) done[rule->name].mended = true;
  };
  for (const auto& action : plan.actions) {
    done[action.rule->name].consents.insert(action.consent);
    take(action.rule);
  }
  if (const auto own = findings::RuleId::lookup(one.rule)) take(*own);
}

// A rule with a remedy has a case that a plan mends, with the consent that the row names if an action is the
// rule's own; to one without a remedy, no action belongs.
void expect_rows_to_be_true(DoneByRule& done) {
  for (const auto& rule : findings::all_rules()) {
    const auto& [consents, mended] = done[rule.name];
    if (rule.remedy == findings::Remedy::none) {
      EXPECT_TRUE(consents.empty()) << rule.name << " is mended with consent "
                                    << (consents.empty() ? "" : to_string(*consents.begin()))
                                    << ", and its row says that there is no remedy";
      continue;
    }
    EXPECT_TRUE(mended) << rule.name << " has the remedy " << to_string(rule.remedy)
                        << ", and no plan mends a case of it";
    EXPECT_TRUE(consents.empty() || consents.contains(rule.consent))
        << rule.name << " takes another consent than " << to_string(rule.consent);
  }
}

TEST(Repair, keeps_its_laws_on_every_damaged_image_of_the_corpus) {
  std::size_t mended = 0, cases = 0, actions = 0;
  DoneByRule done;
  std::map<std::string, std::uint64_t> left;
  for (const auto& one : corpus::list_cases(corpus::corpus_directory())) {
    const auto built = corpus::build_case(one);
    if (!built || built->file.size() > (16ULL << 20)) continue;
    const Devices devices(*built);
    const auto before = content(devices.image);
    for (const auto& wish : wishes) {
      const auto options = options_for(wish, devices);
      base::Progress progress;
      auto planned = plan_repair(devices.image, options, progress);
      if (!planned) continue;
      const auto& plan = planned->plan;
      SCOPED_TRACE(fmt::format("{}, level {}{}\n{}", one.path, static_cast<int>(wish.level),
                               wish.allow_loss ? ", loss allowed" : "", told(plan)));
      ASSERT_EQ(content(devices.image), before);
      EXPECT_EQ(plan.objection, "");
      EXPECT_LE(grave(plan.after), grave(plan.before));
      if (wish.level == Level::lossless) {
        EXPECT_TRUE(!plan.proof || plan.proof->nothing_worse());
        for (const auto& action : plan.actions) EXPECT_EQ(action.consent, Consent::lossless);
      }
      // The result again: the same verdict, and nothing left to do.
      base::Progress again_progress;
      auto again = must(plan_repair(planned->draft->image(), options, again_progress));
      EXPECT_EQ(again.draft->writes(), 0U) << told(again.plan);
      EXPECT_EQ(again.plan.before.summary, plan.after.summary);
      actions += plan.actions.size();
      if (wish.allow_loss) {
        note(plan, one, done);
        ++cases;
        if (grave(plan.after) == 0) ++mended;
        for (const auto& f : plan.after.findings)
          if (f.severity >= Severity::error) ++left[std::string(f.rule->name)];
      }
    }
  }
  EXPECT_GT(actions, 300U);
  expect_rows_to_be_true(done);
  fmt::print("{} of {} damaged images have no error after a repair; what is left:\n", mended, cases);
  for (const auto& [rule, count] : left) fmt::print("  {} {}\n", count, rule);
}

}  // namespace
}  // namespace cowvet::repair
