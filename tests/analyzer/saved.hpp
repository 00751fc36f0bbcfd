// A built case as files, holes and all, and the check of them: an image of terabytes takes no memory so.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>

#include "analyzer/check.hpp"
#include "corpus/builder/cases.hpp"
#include "storage/file.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::corpus {
// Keeps the bytes of a case, addresses and all, out of the names of tests.
inline void PrintTo(const Case& c, std::ostream* out) { *out << c.path; }
}  // namespace cowvet::corpus

namespace cowvet::analyzer {

// A case's files in a folder of their own, which is the working directory: that is where a data file is looked for.
class Saved {
 public:
  explicit Saved(const corpus::BuiltImage& image) : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(folder_ / "");
    if (const auto saved = corpus::save(image, "image.qcow2"); !saved)
      throw std::runtime_error(saved.error().message);
    image_ = open("image.qcow2");
    const bool beside = image.data_file && std::filesystem::exists(image.data_file_name);
    if (beside) data_file_ = open(image.data_file_name);
  }
  Saved(const Saved&) = delete;
  Saved& operator=(const Saved&) = delete;
  ~Saved() { std::filesystem::current_path(before_); }

  static constexpr std::size_t keep = 64;  // findings a rule

  [[nodiscard]] Verdict check(bool deep, unsigned jobs,
                              std::optional<std::uint64_t> memory_limit = {}) const {
    Options options;
    options.deep = deep;
    options.jobs = jobs;
    options.memory_limit = memory_limit;
    options.path = "image.qcow2";
    options.data_file = data_file_.get();
    findings::Collector collector(keep);
    base::Progress progress;
    auto verdict = analyzer::check(*image_, options, collector, progress);
    if (!verdict) throw std::runtime_error("the check was stopped: " + verdict.error().message);
    return std::move(*verdict);
  }

 private:
  static std::unique_ptr<storage::Device> open(const std::filesystem::path& path) {
    auto device = storage::open_file(path);
    if (!device) throw std::runtime_error(device.error().message);
    return std::move(*device);
  }

  tests::Folder folder_;
  std::filesystem::path before_;
  std::unique_ptr<storage::Device> image_, data_file_;
};

}  // namespace cowvet::analyzer
