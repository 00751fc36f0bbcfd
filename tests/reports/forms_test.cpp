// JSON, JUnit, SARIF and HTML: determinism, complete counts, and nothing that a name could break out of.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "reports/form.hpp"
#include "tests/reports/samples.hpp"

namespace {

using namespace cowvet;
using namespace cowvet::reports;
using Json = nlohmann::ordered_json;

constexpr Form all_forms[] = {Form::human, Form::json, Form::junit, Form::sarif, Form::html};

Json parsed(std::span<const Report> reports, Form form = Form::json) {
  return Json::parse(render(form, reports, {}));
}

TEST(Json, has_the_keys_of_qemu_img_first_and_leaves_out_zeros) {
  const auto json = parsed({{report_of({leak(5), leak(6), lost_table(0)})}});
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  const std::vector<std::string> first{"filename",    "format", "check-errors",   "image-end-offset",
                                       "corruptions", "leaks",  "total-clusters", "allocated-clusters",
                                       "schema"};
  ASSERT_GE(keys.size(), first.size());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), keys.begin())) << json.dump(2);
  EXPECT_EQ(json["leaks"], 2);
  EXPECT_EQ(json["corruptions"], 1);
  EXPECT_EQ(json["image"]["header-digest"], "fnv1a64:0123456789abcdef");
}

TEST(Json, counts_leaked_clusters_and_not_findings) {
  auto run = leak(5);
  run.count = 7;
  const auto json = parsed({{report_of({std::move(run)})}});
  EXPECT_EQ(json["leaks"], 7);
  EXPECT_EQ(json["summary"]["rules"]["refcount/leak"], (Json{{"findings", 1}, {"clusters", 7}}));
}

TEST(Json, counts_are_complete_when_the_list_is_capped) {
  std::vector<findings::Finding> list;
  for (std::uint64_t i = 0; i < 50; ++i) list.push_back(leak(i));
  auto report = report_of({});
  report.outcome = verdict_of(std::move(list), 3);
  const auto json = parsed({{std::move(report)}});
  EXPECT_EQ(json["findings"].size(), 3U);
  EXPECT_EQ(json["summary"]["findings"], 50);
  EXPECT_EQ(json["summary"]["listed"], 3);
  EXPECT_EQ(json["leaks"], 50);
}

TEST(Json, several_images_are_an_array_and_a_failure_is_one_of_them) {
  const std::vector<Report> reports{report_of({}), failed_report()};
  const auto json = parsed(reports);
  ASSERT_TRUE(json.is_array());
  EXPECT_EQ(json[0]["verdict"], "sound");
  EXPECT_EQ(json[1]["verdict"], "not-examined");
  EXPECT_EQ(json[1]["check-errors"], 1);
  EXPECT_EQ(json[1]["error"], "no such file: check the name");
}

TEST(Json, an_unfinished_check_is_an_error) {
  auto report = report_of({});
  report.outcome->complete = false;
  report.outcome->incomplete = "stopped";
  EXPECT_EQ(parsed({{std::move(report)}})["check-errors"], 1);
}

TEST(Forms, any_bytes_in_names_leave_them_valid) {
  std::string everything;
  for (int byte = 1; byte < 256; ++byte) everything += static_cast<char>(byte);
  auto finding = leak(5);
  finding.snapshot = finding.detail = finding.where = everything;
  finding.actual = findings::Value::text(everything);
  finding.owners.push_back({everything, everything, findings::GuestRange{{}, 1, everything}});
  const std::vector<Report> reports{report_of({finding}, everything)};
  EXPECT_NO_THROW((void)parsed(reports));
  EXPECT_NO_THROW((void)parsed(reports, Form::sarif));
  for (const Form form : {Form::junit, Form::html}) {
    const auto text = render(form, reports, {});
    EXPECT_FALSE(text.contains("%&'()*+,-./0123456789:;<=>?")) << "the name stands there as it is";
    EXPECT_TRUE(text.contains("%&amp;&#39;()*+,-./0123456789:;&lt;=&gt;?")) << text;
    for (char c = 1; c < 32; ++c)
      if (c != '\n') {
        EXPECT_EQ(text.find(c), std::string::npos) << static_cast<int>(c);
      }
  }
}

TEST(Forms, the_same_reports_give_the_same_bytes) {
  for (const Form form : all_forms) {
    const auto make = [&] {
      return render(form, {{report_of({lost_table(2), leak(9), leak(5), lost_table(0)})}}, {});
    };
    EXPECT_EQ(make(), make());
    EXPECT_TRUE(make().ends_with('\n'));
  }
}

TEST(Forms, are_known_by_word_and_by_suffix) {
  EXPECT_EQ(form_named("sarif"), Form::sarif);
  EXPECT_EQ(form_named("yaml"), std::nullopt);
  EXPECT_EQ(form_of_file("out/report.xml"), Form::junit);
  EXPECT_EQ(form_of_file("report"), std::nullopt);
}

TEST(Junit, fails_the_area_of_a_finding_at_or_above_the_line) {
  const std::vector<Report> reports{report_of({leak(5)})};
  const auto strict = render(Form::junit, reports, {.text = {}, .fails = findings::Severity::leak});
  EXPECT_TRUE(strict.contains("failures=\"1\""));
  EXPECT_TRUE(strict.contains("<testcase name=\"refcount\" classname=\"disk.qcow2\"><failure type=\"leak\""));
  const auto lenient = render(Form::junit, reports, {.text = {}, .fails = findings::Severity::error});
  EXPECT_TRUE(lenient.contains("failures=\"0\""));
  EXPECT_TRUE(lenient.contains("<system-out>leak refcount/leak"));
}

TEST(Junit, an_image_that_could_not_be_examined_is_an_error) {
  EXPECT_TRUE(render(Form::junit, {{failed_report()}}, {}).contains("errors=\"1\""));
}

TEST(Sarif, names_rule_place_and_level) {
  const auto json = parsed({{report_of({leak(5), lost_table(1), lost_table(2)})}}, Form::sarif);
  const auto& run = json["runs"][0];
  EXPECT_EQ(json["version"], "2.1.0");
  EXPECT_EQ(run["tool"]["driver"]["rules"].size(), 2U);
  ASSERT_EQ(run["results"].size(), 3U);
  for (const auto& result : run["results"]) {
    const auto index = result["ruleIndex"].get<std::size_t>();
    EXPECT_EQ(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
  }
  const auto& result = run["results"][0];
  EXPECT_EQ(result["ruleId"], "refcount/leak");
  EXPECT_EQ(result["level"], "warning");
  EXPECT_EQ(result["locations"][0]["physicalLocation"]["region"],
            (Json{{"byteOffset", 5 << 16}, {"byteLength", 1 << 16}}));
  EXPECT_EQ(run["invocations"][0]["executionSuccessful"], true);
}

TEST(Sarif, writes_names_as_uris) {
  const auto json = parsed({{report_of({}, "a b%.qcow2")}}, Form::sarif);
  EXPECT_EQ(json["runs"][0]["artifacts"][0]["location"]["uri"], "a%20b%25.qcow2");
}

}  // namespace
