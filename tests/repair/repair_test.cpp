// The laws of repairing, over every damaged image of the corpus: a lossless plan changes nothing that can be
// read, a second repair finds nothing to do, what a repair claims is what a check of the result says, and the
// image is only read.
#include "repair/repair.hpp"

#include <map>
#include <string>

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

TEST(Repair, keeps_its_laws_on_every_damaged_image_of_the_corpus) {
  std::size_t mended = 0, cases = 0, actions = 0;
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
      const Options again_options = options;
      base::Progress again_progress;
      auto again = must(plan_repair(planned->draft->image(), again_options, again_progress));
      EXPECT_EQ(again.draft->writes(), 0U) << told(again.plan);
      EXPECT_EQ(again.plan.before.summary, plan.after.summary);
      actions += plan.actions.size();
      if (wish.allow_loss) {
        ++cases;
        if (grave(plan.after) == 0) ++mended;
        for (const auto& f : plan.after.findings)
          if (f.severity >= Severity::error) ++left[std::string(f.rule->name)];
      }
    }
  }
  EXPECT_GT(actions, 300U);
  fmt::print("{} of {} damaged images have no error after a repair; what is left:\n", mended, cases);
  for (const auto& [rule, count] : left) fmt::print("  {} {}\n", count, rule);
}

}  // namespace
}  // namespace cowvet::repair
