// Findings: the order is total and looks at everything; the builder sets what it says.
#include "findings/finding.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace cowvet::findings;
using cowvet::base::GuestOffset;
using cowvet::base::HostOffset;

Finding plain() { return Finding{"l2/host-alias"_rule}; }

// Each makes a finding differ from plain() in one respect, in ascending order of what the result compares as.
const std::vector<std::function<void(Finding&)>>& changes() {
  static const std::vector<std::function<void(Finding&)>> all = {
      [](Finding& f) { f.rule = "header/magic"_rule; },
      [](Finding&) {},
      [](Finding& f) { f.inferred = true; },
      [](Finding& f) { f.count = 2; },
      [](Finding& f) { f.owners.push_back({"L2 table", "l1[0]", {}}); },
      [](Finding& f) { f.owners.push_back({"L2 table", "l1[0]", GuestRange{GuestOffset{}, 1, {}}}); },
      [](Finding& f) { f.owners.push_back({"L2 table", "l1[1]", {}}); },
      [](Finding& f) { f.detail = "x"; },
      [](Finding& f) { f.actual = Value::dec(1); },
      [](Finding& f) { f.actual = Value::hex(1); },
      [](Finding& f) { f.expected = Value::dec(7); },
      [](Finding& f) { f.expected = Value::text("7"); },
      [](Finding& f) { f.severity = Severity::fatal; },
      [](Finding& f) { f.snapshot = "1"; },
      [](Finding& f) { f.where = "l1[0]"; },
      [](Finding& f) { f.guest.push_back({GuestOffset{0}, 512, {}}); },
      [](Finding& f) { f.guest.push_back({GuestOffset{0}, 512, "1"}); },
      [](Finding& f) { f.guest.push_back({GuestOffset{0}, 1024, {}}); },
      [](Finding& f) { f.guest.push_back({GuestOffset{512}, 512, {}}); },
      [](Finding& f) { f.host = HostRange{HostOffset{0}, 512}; },
      [](Finding& f) { f.host = HostRange{HostOffset{0}, 1024}; },
      [](Finding& f) { f.host = HostRange{HostOffset{512}, 512}; },
      [](Finding& f) { f.rule = "luks/uuid"_rule; },
  };
  return all;
}

TEST(FindingOrder, looks_at_every_member) {
  std::vector<Finding> ascending;
  for (const auto& change : changes()) {
    ascending.push_back(plain());
    change(ascending.back());
  }
  for (std::size_t a = 0; a < ascending.size(); ++a) {
    for (std::size_t b = 0; b < ascending.size(); ++b) {
      EXPECT_EQ(ascending[a] <=> ascending[b], a <=> b) << a << " and " << b;
      EXPECT_EQ(ascending[a] == ascending[b], a == b) << a << " and " << b;
    }
  }
}

TEST(FindingOrder, place_comes_before_the_rest) {
  Finding late_text = plain().at("z").on(HostOffset{512}, 512);
  Finding early_text = plain().at("a").on(HostOffset{1024}, 512);
  EXPECT_LT(late_text, early_text);
  EXPECT_LT(place_of(late_text), place_of(early_text));

  const Finding far_guest = plain().on(HostOffset{512}, 512).hits({GuestOffset{4096}, 512, {}});
  const Finding near_guest = plain().on(HostOffset{1024}, 512).hits({GuestOffset{0}, 512, {}});
  EXPECT_LT(far_guest, near_guest);
}

TEST(Finding, is_built_as_its_call_reads) {
  const Finding finding = Finding{"compressed/range-past-eof"_rule}
                              .at("l1[3].l2[17]")
                              .on(HostOffset{0x50000}, 512)
                              .hits({GuestOffset{65536}, 65536, {}})
                              .hits({GuestOffset{65536}, 65536, "2"})
                              .in("2")
                              .wanted(Value::dec(1))
                              .found(Value::hex(0x1f))
                              .saying("The stream decodes.")
                              .shared_with({"L2 table", "l1[0]", {}})
                              .clusters(3)
                              .milder();
  EXPECT_EQ(finding.rule, "compressed/range-past-eof"_rule);
  EXPECT_EQ(finding.severity, Severity::warning);
  EXPECT_EQ(finding.where, "l1[3].l2[17]");
  ASSERT_TRUE(finding.host);
  EXPECT_EQ(finding.host->begin, HostOffset{0x50000});
  EXPECT_EQ(finding.host->length, 512U);
  ASSERT_EQ(finding.guest.size(), 2U);
  EXPECT_EQ(finding.guest[0].snapshot, "");
  EXPECT_EQ(finding.guest[1].snapshot, "2");
  EXPECT_EQ(finding.snapshot, "2");
  EXPECT_EQ(to_string(finding.expected), "1");
  EXPECT_EQ(to_string(finding.actual), "0x1f");
  EXPECT_EQ(finding.detail, "The stream decodes.");
  ASSERT_EQ(finding.owners.size(), 1U);
  EXPECT_EQ(finding.owners[0].where, "l1[0]");
  EXPECT_EQ(finding.count, 3U);
  EXPECT_FALSE(finding.inferred);
}

TEST(Finding, has_its_rules_severity_at_first) {
  EXPECT_EQ(Finding{"header/magic"_rule}.severity, Severity::fatal);
  EXPECT_EQ(Finding{"refcount/leak"_rule}.severity, Severity::leak);
  EXPECT_EQ(Finding{"refcount/leak"_rule}.count, 1U);
}

TEST(Value, says_what_it_holds) {
  EXPECT_EQ(to_string(Value{}), "");
  EXPECT_TRUE(Value{}.empty());
  EXPECT_EQ(to_string(Value::dec(0)), "0");
  EXPECT_EQ(to_string(Value::dec(UINT64_MAX)), "18446744073709551615");
  EXPECT_EQ(to_string(Value::hex(0)), "0x0");
  EXPECT_EQ(to_string(Value::hex(UINT64_MAX)), "0xffffffffffffffff");
  EXPECT_EQ(to_string(Value::text("zstd")), "zstd");
  EXPECT_FALSE(Value::text("").empty());
}

}  // namespace
