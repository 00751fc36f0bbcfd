// Every change of metadata of tiny images (mutations.hpp) through a repair that may do everything. Promises
// that hold for each: what read right in any layer still does, by the flat reader, who knows the sound image;
// the result is clean, or the plan says what is left or refuses; a second repair writes nothing. Prints what
// became of the changes, structure by structure. CI takes one change in 61; COWVET_LONG=1 takes all.
#include <cstdlib>
#include <map>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/recipe.hpp"
#include "findings/collector.hpp"
#include "repair/repair.hpp"
#include "storage/memory.hpp"
#include "tests/laws/flat_image.hpp"
#include "tests/laws/mutations.hpp"

namespace cowvet::laws {

namespace {

bool long_run() {
  const char* wanted = std::getenv("COWVET_LONG");
  return wanted != nullptr && std::string_view(wanted) == "1";
}

std::uint64_t errors(const analyzer::Verdict& verdict) {
  return verdict.summary.of(findings::Severity::error).findings +
         verdict.summary.of(findings::Severity::fatal).findings;
}

bool clean(const analyzer::Verdict& verdict) {
  return errors(verdict) == 0 && verdict.summary.of(findings::Severity::leak).findings == 0;
}

// What became of the changes of one structure.
struct Row {
  std::uint64_t changes = 0;
  std::uint64_t flagged = 0;  // an error or a leak was found
  std::uint64_t clean = 0;    // of these: none afterwards
  std::uint64_t whole = 0;    // of these: every layer reads as before the change
  std::uint64_t told = 0;     // of the flagged ones: what is left is told
  std::uint64_t refused = 0;  // no image any more, or the plan objects to itself
};

class RepairMatrix {
 public:
  void run(const Feature& feature, std::uint64_t share) {
    const auto built = corpus::build(feature.recipe, feature.name);
    ASSERT_TRUE(built) << built.error().message;
    storage::MemoryDevice image(built->file.read(0, built->file.size()));
    const auto sound = read_flat(image.bytes());
    ASSERT_TRUE(sound) << feature.name;
    for_each_mutation(built->layout, image, [&](const Mutation& mutation) {
      if (count_++ % share != 0) return;
      const auto complaint = look(mutation, image, *sound);
      if (!complaint.empty() && complaints_.size() < 100)
        complaints_.push_back(fmt::format("{}: {} at {:#x} ({}): {:#x} -> {:#x}: {}", feature.name,
                                          mutation.region.path, mutation.at, mutation.change, mutation.old,
                                          mutation.value, complaint));
    });
  }

  void print() const {
    fmt::print("{:<18}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n", "structure", "changes", "flagged", "clean", "whole",
               "told", "refused");
    for (const auto& [name, row] : rows_)
      fmt::print("{:<18}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n", name, row.changes, row.flagged, row.clean,
                 row.whole, row.told, row.refused);
  }
  [[nodiscard]] const std::vector<std::string>& complaints() const { return complaints_; }
  [[nodiscard]] const std::map<std::string, Row>& rows() const { return rows_; }

 private:
  // What is wrong with the repair of the image as it is now; empty when nothing is.
  std::string look(const Mutation& mutation, const storage::MemoryDevice& image, const FlatImage& sound) {
    auto& row = rows_[structure_of(mutation.region.kind)];
    ++row.changes;
    const repair::Options options{.level = repair::Level::all, .allow_loss = true, .jobs = 1};
    base::Progress progress;
    const auto planned = repair::plan_repair(image, options, progress);
    if (!planned || !planned->plan.objection.empty()) {
      ++row.refused;
      return planned || planned.error().kind != base::ErrorKind::cancelled ? "" : "cancelled by nobody";
    }
    const auto& plan = planned->plan;
    const auto& result = planned->draft->image();
    std::vector<std::byte> bytes(static_cast<std::size_t>(result.size()));
    if (result.Device::read(0, bytes).os_error != 0) return "the result can't be read";
    const auto before = read_flat(image.bytes());
    const auto after = read_flat(bytes);
    if (!clean(plan.before)) {
      ++row.flagged;
      const bool mended = clean(plan.after);
      ++(mended ? row.clean : row.told);
      if (mended && after && after->layers == sound.layers) ++row.whole;
    }
    if (errors(plan.after) > errors(plan.before)) return "more errors than before";
    if (auto worse = made_worse(sound, before, after); !worse.empty()) return worse;
    base::Progress again_progress;
    const storage::MemoryDevice repaired(std::move(bytes));
    const auto again = repair::plan_repair(repaired, options, again_progress);
    if (!again) return "the result can't be repaired again: " + again.error().message;
    if (again->draft->writes() != 0) return "a second repair writes";
    return "";
  }

  // Which token of which layer read right before and doesn't now.
  static std::string made_worse(const FlatImage& sound, const std::optional<FlatImage>& before,
                                const std::optional<FlatImage>& after) {
    if (!before) return "";
    for (std::size_t i = 0; i < std::min(sound.layers.size(), before->layers.size()); ++i) {
      const auto& right = sound.layers[i].content;
      const auto& was = before->layers[i].content;
      for (std::size_t j = 0; j < std::min(right.size(), was.size()); ++j) {
        if (was[j] != right[j]) continue;
        if (!after || i >= after->layers.size()) return fmt::format("layer {} is gone", i);
        const auto& is = after->layers[i].content;
        if (j >= is.size() || is[j] != right[j])
          return fmt::format("layer {}, token {} read right before", i, j);
      }
    }
    return "";
  }

  std::uint64_t count_ = 0;
  std::map<std::string, Row> rows_;
  std::vector<std::string> complaints_;
};

TEST(RepairMatrix, EveryChangeIsMendedOrToldAndNothingThatReadRightIsMadeWorse) {
  RepairMatrix matrix;
  for (const auto& feature : features()) matrix.run(feature, long_run() ? 1 : 61);
  matrix.print();
  for (const auto& complaint : matrix.complaints()) ADD_FAILURE() << complaint;
  std::uint64_t flagged = 0, clean = 0;
  for (const auto& [name, row] : matrix.rows()) {
    flagged += row.flagged;
    clean += row.clean;
  }
  fmt::print("{} of {} flagged changes are clean afterwards\n", clean, flagged);
  EXPECT_GT(clean * 10, flagged * 9);
}

}  // namespace

}  // namespace cowvet::laws
