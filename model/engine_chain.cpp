#include "model/engine_chain.hpp"

#include <fmt/format.h>

#include "engine/create.hpp"
#include "model/overloaded.hpp"
#include "storage/wrapper.hpp"

namespace cowvet::model {

namespace {
// Little, so that tables leave the cache and come back; the engine asks for more where it needs more.
constexpr std::uint64_t cache_bytes = 16 << 10;
constexpr std::uint32_t some_date = 1700000000;
}  // namespace

std::string image_name(std::size_t layer) { return fmt::format("image{}.qcow2", layer); }
std::string data_file_name(std::size_t layer) { return fmt::format("data{}.raw", layer); }

base::Result<void> EngineChain::start(const Model& model) {
  std::string below;
  if (model.raw_base() != 0) {
    below = raw_base_name;
    if (auto done = files_[below].write(0, filled(raw_base_fill, model.raw_base())); !done) return done;
  }
  return add_image(model.top().setting, below);
}

base::Result<void> EngineChain::add_image(const Setting& setting, const std::string& below) {
  const std::size_t layer = name_.empty() ? 0 : static_cast<std::size_t>(std::stoul(name_.substr(5))) + 1;
  name_ = image_name(layer);
  const auto data_file = data_file_name(layer);
  const auto options = create_options(setting, data_file, below, below == raw_base_name ? "raw" : "qcow2");
  base::Progress progress;
  if (auto made = engine::create_qcow2(files_[name_], options.data_file ? &files_[data_file] : nullptr,
                                       options, progress);
      !made)
    return made;
  return open();
}

base::Result<void> EngineChain::open() {
  top_.reset();
  const engine::OpenFile open_file = [&](const std::string& file,
                                         bool) -> base::Result<std::unique_ptr<storage::Device>> {
    const auto found = files_.find(file);
    if (found == files_.end()) return base::fail(base::ErrorKind::not_found, "there is no file " + file);
    return std::make_unique<storage::Wrapper>(found->second);
  };
  auto opened = engine::open_image(name_,
                                   {.format = engine::ImageFormat::qcow2,
                                    .writable = true,
                                    .secret = password,
                                    .cache_bytes = cache_bytes},
                                   open_file);
  if (!opened) return std::unexpected(opened.error());
  top_ = std::move(*opened);
  return {};
}

base::Result<void> EngineChain::perform(const Operation& operation, const Model& model) {
  using engine::Unmap;
  using Done = base::Result<void>;
  auto& d = disk();
  const Layer& layer = model.top();
  const auto at = [](const Range& range) { return base::GuestOffset{range.at}; };
  return std::visit(
      Overloaded{
          [&](const Write& o) -> Done { return d.write(at(o.range), filled(o.fill, o.range.length)); },
          [&](const WriteCompressed& o) -> Done {
            return d.write_compressed(at(o.range), filled(o.fill, o.range.length));
          },
          [&](const Zero& o) -> Done {
            return d.zero(at(o.range), o.range.length, o.unmap ? Unmap::yes : Unmap::no);
          },
          [&](const Discard& o) -> Done { return d.discard(at(o.range), o.range.length); },
          [&](const Flush&) -> Done { return d.flush(); },
          [&](const Reopen& o) -> Done {
            if (auto done = o.properly ? d.close() : d.flush(); !done) return done;
            return open();
          },
          [&](const CreateSnapshot&) -> Done {
            const auto made = d.create_snapshot(layer.next_snapshot(), some_date, 0);
            return made ? Done{} : std::unexpected(made.error());
          },
          [&](const ApplySnapshot& o) -> Done { return d.apply_snapshot(layer.snapshots[o.which].name); },
          [&](const RemoveSnapshot& o) -> Done { return d.remove_snapshot(layer.snapshots[o.which].name); },
          [&](const Resize& o) -> Done { return d.resize(o.size, o.preallocation); },
          [&](const AddBitmap& o) -> Done {
            return d.add_bitmap(layer.next_bitmap(), o.granularity, o.enabled);
          },
          [&](const RemoveBitmap& o) -> Done { return d.remove_bitmap(layer.bitmaps[o.which].name); },
          [&](const ClearBitmap& o) -> Done { return d.clear_bitmap(layer.bitmaps[o.which].name); },
          [&](const EnableBitmap& o) -> Done {
            return d.enable_bitmap(layer.bitmaps[o.which].name, o.enabled);
          },
          [&](const AddOverlay& o) -> Done {
            if (auto done = d.close(); !done) return done;
            return add_image(o.setting, std::string(name_));
          },
      },
      operation);
}

}  // namespace cowvet::model
