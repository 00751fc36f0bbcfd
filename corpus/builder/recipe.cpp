#include "corpus/builder/recipe.hpp"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "corpus/builder/damage.hpp"
#include "corpus/builder/scanner.hpp"

namespace cowvet::corpus {
namespace {

std::uint32_t small(Scanner& line) {
  const std::uint64_t v = line.number();
  if (v > 0xffffffff) throw Complaint{fmt::format("{} is too large here", v)};
  return static_cast<std::uint32_t>(v);
}

std::uint32_t power_of_two(Scanner& line) {
  const std::uint64_t v = line.number();
  if (!std::has_single_bit(v)) throw Complaint{fmt::format("{} is no power of two", v)};
  return static_cast<std::uint32_t>(std::countr_zero(v));
}

template <class T>
T choice(Scanner& line, std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : choices) {
    if (line.accept(name)) return value;
    names.push_back(name);
  }
  throw Complaint{fmt::format("'{}' is none of {}", line.rest(), enumerate(names))};
}

format::Compression codec(Scanner& line) {
  return choice<format::Compression>(
      line, {{"zlib", format::Compression::deflate}, {"zstd", format::Compression::zstd}});
}

std::uint32_t mask(Scanner& line) {
  std::uint32_t out = 0;
  for (auto range : line.ranges()) {
    if (range.first > range.last || range.last >= format::subclusters_per_cluster)
      throw Complaint{"a cluster has subclusters 0 to 31"};
    for (auto i = range.first; i <= range.last; ++i) out |= 1U << i;
  }
  return out;
}

std::vector<Option> content_options(Content& content) {
  return {{"fill",
           [&](Scanner& l) {
             const auto byte = small(l);
             if (byte > 255) throw Complaint{"fill is a byte, 0 to 255"};
             content.byte = static_cast<std::uint8_t>(byte);
           }},
          {"content", [&](Scanner& l) {
             content.kind = choice<Content::Kind>(l, {{"pattern", Content::Kind::pattern},
                                                      {"noise", Content::Kind::noise},
                                                      {"none", Content::Kind::none}});
           }}};
}

std::vector<Option> joined(std::vector<Option> a, std::vector<Option> b) {
  std::ranges::move(b, std::back_inserter(a));
  return a;
}

// Reads a recipe line by line. The image is made when the first line speaks of its content.
class Reader {
 public:
  // Reads one line without its comment.
  void read(std::string_view text, std::uint32_t number);
  [[nodiscard]] BuiltImage finish();

 private:
  using Verb = void (Reader::*)(Scanner&);
  struct Directive {
    std::string_view name;
    Verb read;
  };
  static const Directive directives[];

  Image& image() {
    if (!image_) image_ = std::make_unique<Image>(options_);
    return *image_;
  }
  void demand_sound() {
    if (image_ && image_->error()) throw Complaint{*image_->error()};
  }
  void begin_damage();
  void expectations(Scanner& line, std::uint32_t number);

  void image_line(Scanner& line);
  void backing(Scanner& line);
  void datafile(Scanner& line);
  void feature_names(Scanner&) { image().feature_names(); }
  void extension(Scanner& line);
  void data(Scanner& line);
  void zero(Scanner& line);
  void compressed(Scanner& line);
  void subclusters(Scanner& line);
  void unmap(Scanner& line);
  void snapshot(Scanner& line);
  void resize(Scanner& line) { image().resize(line.number()); }
  void bitmap(Scanner& line);
  void reserve(Scanner& line);
  void place(Scanner& line) { image().place(line.number()); }

  struct Expected {
    std::string rule;
    std::string at;  // an expression, read when the image is there
    bool deep;
    std::uint32_t line;
  };

  ImageOptions options_;
  std::unique_ptr<Image> image_;
  std::optional<Built> built_;
  std::vector<Expected> expected_;
  std::optional<int> exit_;
};

const Reader::Directive Reader::directives[] = {
    {"image", &Reader::image_line},
    {"backing", &Reader::backing},
    {"datafile", &Reader::datafile},
    {"feature_names", &Reader::feature_names},
    {"extension", &Reader::extension},
    {"data", &Reader::data},
    {"zero", &Reader::zero},
    {"compressed", &Reader::compressed},
    {"subclusters", &Reader::subclusters},
    {"unmap", &Reader::unmap},
    {"snapshot", &Reader::snapshot},
    {"resize", &Reader::resize},
    {"bitmap", &Reader::bitmap},
    {"reserve", &Reader::reserve},
    {"place", &Reader::place},
};

void Reader::image_line(Scanner& line) {
  if (image_) throw Complaint{"write the image line before everything that fills the image"};
  auto& o = options_;
  read_options(line, "image",
               {{"version", [&](Scanner& l) { o.version = small(l); }},
                {"cluster_bits", [&](Scanner& l) { o.cluster_bits = small(l); }},
                {"cluster_size", [&](Scanner& l) { o.cluster_bits = power_of_two(l); }},
                {"size", [&](Scanner& l) { o.size = l.number(); }},
                {"refcount_order", [&](Scanner& l) { o.refcount_order = small(l); }},
                {"refcount_bits", [&](Scanner& l) { o.refcount_order = power_of_two(l); }},
                {"extended_l2", {}, &o.extended_l2},
                {"compression", [&](Scanner& l) { o.compression = codec(l); }},
                {"header_length", [&](Scanner& l) { o.header_length = small(l); }},
                {"lazy_refcounts", {}, &o.lazy_refcounts},
                {"dirty", {}, &o.dirty},
                {"corrupt", {}, &o.corrupt},
                {"encryption",
                 [&](Scanner& l) {
                   o.encryption = choice<format::CryptMethod>(l, {{"none", format::CryptMethod::none},
                                                                  {"aes", format::CryptMethod::aes},
                                                                  {"luks", format::CryptMethod::luks}});
                 }},
                {"luks_key_bytes", [&](Scanner& l) { o.luks_key_bytes = small(l); }},
                {"luks_active_slots", [&](Scanner& l) { o.luks_active_slots = small(l); }},
                {"l1_entries", [&](Scanner& l) { o.l1_entries = l.number(); }},
                {"reftable_clusters", [&](Scanner& l) { o.refcount_table_clusters = l.number(); }}});
}

void Reader::backing(Scanner& line) {
  std::string name = line.text();
  std::optional<std::string> format;
  read_options(line, "backing", {{"format", [&](Scanner& l) { format = l.text(); }}});
  image().backing(std::move(name), std::move(format));
}

void Reader::datafile(Scanner& line) {
  std::string name = line.text();
  bool raw = false;
  read_options(line, "datafile", {{"raw", {}, &raw}});
  image().external_data(std::move(name), raw);
}

void Reader::extension(Scanner& line) {
  const std::uint32_t type = small(line);
  image().extension(type, line.at_end() ? std::vector<std::byte>{} : line.bytes());
}

void Reader::data(Scanner& line) {
  const auto ranges = line.ranges();
  Content content;
  read_options(line, "data", content_options(content));
  for (auto range : ranges) image().data(range, content);
}

void Reader::zero(Scanner& line) {
  const auto ranges = line.ranges();
  bool preallocated = false;
  read_options(line, "zero", {{"preallocated", {}, &preallocated}});
  for (auto range : ranges) image().zero(range, preallocated);
}

void Reader::compressed(Scanner& line) {
  const auto ranges = line.ranges();
  CompressedOptions o;
  auto change = [](Scanner& l) {
    l.accept("+");
    return static_cast<std::int64_t>(l.number());
  };
  read_options(
      line, "compressed",
      joined(content_options(o.content),
             {{"codec", [&](Scanner& l) { o.codec = codec(l); }},
              {"window_bits", [&](Scanner& l) { o.deflate.window_bits = static_cast<int>(small(l) % 16); }},
              {"zlib_wrapper", {}, &o.deflate.zlib_wrapper},
              {"frames", [&](Scanner& l) { o.zstd.frames = small(l); }},
              {"checksum", {}, &o.zstd.checksum},
              {"content_size", {}, &o.zstd.content_size},
              {"skippable", {}, &o.zstd.skippable_first},
              {"window_log", [&](Scanner& l) { o.zstd.window_log = small(l); }},
              {"output", [&](Scanner& l) { o.output_change = change(l); }},
              {"sectors", [&](Scanner& l) { o.extra_sectors = change(l); }},
              {"own_cluster", {}, &o.own_cluster}}));
  for (auto range : ranges) image().compressed(range, o);
}

void Reader::subclusters(Scanner& line) {
  const auto ranges = line.ranges();
  std::uint32_t allocated = 0;
  std::uint32_t zero = 0;
  bool preallocated = false;
  Content content;
  read_options(line, "subclusters",
               joined(content_options(content), {{"allocated", [&](Scanner& l) { allocated = mask(l); }},
                                                 {"zero", [&](Scanner& l) { zero = mask(l); }},
                                                 {"preallocated", {}, &preallocated}}));
  for (auto range : ranges) image().subclusters(range, allocated, zero, preallocated, content);
}

void Reader::unmap(Scanner& line) {
  for (auto range : line.ranges()) image().unmap(range);
}

void Reader::snapshot(Scanner& line) {
  SnapshotOptions o;
  read_options(line, "snapshot",
               {{"id", [&](Scanner& l) { o.id = l.text(); }},
                {"name", [&](Scanner& l) { o.name = l.text(); }},
                {"vm_state", [&](Scanner& l) { o.vm_state = l.number(); }},
                {"extra", [&](Scanner& l) { o.extra_size = small(l); }},
                {"date", [&](Scanner& l) { o.date_sec = small(l); }},
                {"nsec", [&](Scanner& l) { o.date_nsec = small(l); }},
                {"vm_clock", [&](Scanner& l) { o.vm_clock_nsec = l.number(); }},
                {"icount", [&](Scanner& l) { o.icount = l.number(); }}});
  image().snapshot(o);
}

void Reader::bitmap(Scanner& line) {
  BitmapOptions o;
  read_options(
      line, "bitmap",
      {{"name", [&](Scanner& l) { o.name = l.text(); }},
       {"granularity", [&](Scanner& l) { o.granularity_bits = static_cast<std::uint8_t>(power_of_two(l)); }},
       {"set", [&](Scanner& l) { o.set = l.ranges(); }},
       {"extra", [&](Scanner& l) { o.extra_size = small(l); }},
       {"in_use", {}, &o.in_use},
       {"auto", {}, &o.automatic},
       {"ones", {}, &o.ones}});
  image().bitmap(o);
}

void Reader::reserve(Scanner& line) {
  const std::string name = line.word("a name for the clusters");
  std::uint64_t clusters = 1;
  std::uint64_t refcount = 1;
  Content content;
  content.kind = Content::Kind::none;
  auto options = content_options(content);
  options[0].take = [&, fill = options[0].take](Scanner& l) {
    fill(l);
    content.kind = Content::Kind::pattern;
  };
  read_options(line, "reserve",
               joined(options, {{"clusters", [&](Scanner& l) { clusters = l.number(); }},
                                {"refcount", [&](Scanner& l) { refcount = l.number(); }}}));
  image().reserve(name, clusters, refcount, content);
}

// "expect refcount/leak, l2/reserved at @l2[0][3]"
void Reader::expectations(Scanner& line, std::uint32_t number) {
  const bool deep = line.accept("-deep");
  do {
    std::string rule = line.rule();
    std::string at;
    if (line.accept("at")) at = line.until(",");
    expected_.push_back({std::move(rule), std::move(at), deep, number});
  } while (line.accept(","));
}

void Reader::begin_damage() {
  if (built_) throw Complaint{"damage: stands once"};
  auto built = image().finish();
  if (!built) throw Complaint{built.error().message};
  built_ = std::move(*built);
}

void Reader::read(std::string_view text, std::uint32_t number) {
  Scanner line{text};
  if (line.at_end()) return;
  if (line.accept("damage")) {
    line.expect(":");
    line.expect_end();
    return begin_damage();
  }
  if (line.accept("expect")) return expectations(line, number);
  if (line.accept("exit")) {
    exit_ = static_cast<int>(small(line));
    return line.expect_end();
  }
  Scanner ahead = line;
  const std::string name = ahead.word("a verb");
  auto directive = std::ranges::find(directives, std::string_view(name), &Directive::name);
  if (built_) {
    if (!is_damage(name) && directive != std::end(directives))
      throw Complaint{fmt::format("'{}' describes the sound image; write it above damage:", name)};
    return apply_damage(text, *built_);
  }
  if (directive == std::end(directives)) {
    if (is_damage(name)) throw Complaint{fmt::format("'{}' damages the image; write it below damage:", name)};
    throw Complaint{
        fmt::format("a recipe has no '{}'; there are {}, and below damage: set, write, truncate and more",
                    name, enumerate(directives, &Directive::name))};
  }
  (this->*directive->read)(ahead);
  ahead.expect_end();
  demand_sound();
}

BuiltImage Reader::finish() {
  if (!built_) begin_damage();
  BuiltImage out;
  static_cast<Built&>(out) = std::move(*built_);
  for (const auto& e : expected_) {
    Expectation expectation{e.rule, {}, e.deep, e.line};
    if (!e.at.empty()) expectation.offset = Scanner{e.at, {&out.layout, &out.file}}.number();
    out.expected.push_back(std::move(expectation));
  }
  out.exit = exit_;
  return out;
}

// The line up to a # that stands outside quotes.
std::string_view without_comment(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && quoted)
      ++i;
    else if (line[i] == '"')
      quoted = !quoted;
    else if (line[i] == '#' && !quoted)
      return line.substr(0, i);
  }
  return line;
}

}  // namespace

base::Result<BuiltImage> build(std::string_view recipe, std::string_view name) {
  Reader reader;
  std::string title;
  std::uint32_t number = 0;
  bool at_top = true;
  try {
    while (!recipe.empty()) {
      ++number;
      const std::string_view line = recipe.substr(0, recipe.find('\n'));
      recipe.remove_prefix(std::min(line.size() + 1, recipe.size()));
      if (at_top && line.starts_with("#")) {
        const auto words = line.substr(std::min(line.find_first_not_of("# "), line.size()));
        title += fmt::format("{}{}", title.empty() ? "" : " ", words);
        continue;
      }
      at_top = false;
      reader.read(without_comment(line), number);
    }
    auto image = reader.finish();
    image.title = std::move(title);
    return image;
  } catch (const Complaint& complaint) {
    return base::fail(base::ErrorKind::usage, fmt::format("{}:{}: {}", name, number, complaint.message));
  }
}

base::Result<void> save(const BuiltImage& image, const std::string& path) {
  if (auto saved = image.file.save(path); !saved) return saved;
  const std::filesystem::path name{image.data_file_name};
  const bool names_a_file = !name.empty() && name.native().find('\0') == std::string::npos;
  if (!image.data_file || !names_a_file || name.filename() != name) return {};
  return image.data_file->save((std::filesystem::path(path).parent_path() / name).string());
}

}  // namespace cowvet::corpus
