#include "model/engine_chain.hpp"

#include <fmt/format.h>

#include "engine/commit.hpp"
#include "engine/create.hpp"
#include "engine/rebase.hpp"
#include "model/overloaded.hpp"
#include "storage/wrapper.hpp"

namespace cowvet::model {

namespace {
// Little, so that tables leave the cache and come back; the engine asks for more where it needs more.
constexpr std::uint64_t cache_bytes = 16 << 10;
constexpr std::uint32_t some_date = 1700000000;

engine::ChainOptions opening(bool writable) {
  return {.format = engine::ImageFormat::qcow2,
          .writable = writable,
          .secret = password,
          .cache_bytes = cache_bytes};
}

}  // namespace

base::Result<void> EngineChain::start(const Model& model) {
  const Layer& first = model.top();
  const Layer* below = nullptr;
  if (first.below) {
    below = &model.layers()[*first.below];
    if (auto done = files_[below->name].write(0, below->disk.content); !done) return done;
  }
  name_ = first.name;
  return add_image(first.setting, first.data_file, below);
}

base::Result<void> EngineChain::add_image(const Setting& setting, const std::string& data_file,
                                          const Layer* below) {
  const auto options = create_options(setting, data_file, below != nullptr ? below->name : "",
                                      below != nullptr && below->raw ? "raw" : "qcow2");
  base::Progress progress;
  if (auto made = engine::create_qcow2(files_[name_], options.data_file ? &files_[data_file] : nullptr,
                                       options, progress);
      !made)
    return made;
  return open();
}

engine::OpenFile EngineChain::opener() {
  return [this](const std::string& file, bool) -> base::Result<std::unique_ptr<storage::Device>> {
    const auto found = files_.find(file);
    if (found == files_.end()) return base::fail(base::ErrorKind::not_found, "there is no file " + file);
    return std::make_unique<storage::Wrapper>(found->second);
  };
}

base::Result<void> EngineChain::open() {
  top_.reset();
  auto opened = engine::open_image(name_, opening(true), opener());
  if (!opened) return std::unexpected(opened.error());
  top_ = std::move(*opened);
  return {};
}

base::Result<std::unique_ptr<engine::OpenImage>> EngineChain::look_at(const std::string& name) {
  return engine::open_image(name, opening(false), opener());
}

base::Result<void> EngineChain::finish(base::Result<std::unique_ptr<engine::ChainEdit>> edit) {
  if (!edit) return std::unexpected(edit.error());
  warned_ = warned_ || !(*edit)->plan().hazards.empty();
  base::Progress progress;
  return (*edit)->run({.jobs = 1}, progress);
}

namespace {

engine::RebaseRequest onto(const Layer* below) {
  if (below == nullptr) return {};
  return {.backing = below->name, .format = below->raw ? "raw" : "qcow2"};
}

}  // namespace

base::Result<void> EngineChain::commit(const std::string& active, const std::string& top,
                                       const std::string& base) {
  auto image = look_at(active);
  if (!image) return std::unexpected(image.error());
  return finish(
      engine::prepare_commit(std::move(*image), {.base = base, .top = top}, opening(false), opener()));
}

base::Result<void> EngineChain::rebase(const std::string& name, const Layer* below, bool safe) {
  auto image = look_at(name);
  if (!image) return std::unexpected(image.error());
  const auto prepare = safe ? engine::prepare_rebase : engine::prepare_rename;
  return finish(prepare(std::move(*image), onto(below), opening(false), opener()));
}

base::Result<void> EngineChain::pull(const std::string& name, const Layer* base) {
  auto image = look_at(name);
  if (!image) return std::unexpected(image.error());
  engine::PullRequest request;
  if (base != nullptr) request.base = base->name;
  return finish(engine::prepare_pull(std::move(*image), request, opening(false), opener()));
}

// The image in use is closed; afterwards one is open again.
base::Result<void> EngineChain::on_tree(const Operation& operation, const Model& model) {
  using Done = base::Result<void>;
  const auto& layers = model.layers();
  const auto chain = model.chain_of(model.used());
  const auto of_chain = [&](std::size_t depth) { return &layers[chain[depth]]; };
  const auto numbered = [&](std::uint32_t number) { return number == 0 ? nullptr : &layers[number - 1]; };
  return std::visit(Overloaded{
                        [&](const AddOverlay& o) -> Done {
                          const auto* below = o.over == 0 ? &model.top() : numbered(o.over);
                          name_ = model.next_image();
                          return add_image(o.setting, model.next_data_file(), below);
                        },
                        [&](const Use& o) -> Done {
                          name_ = layers[o.which].name;
                          return {};
                        },
                        [&](const Commit& o) -> Done {
                          return commit(name_, of_chain(o.top)->name, of_chain(o.base)->name);
                        },
                        [&](const Rebase& o) -> Done { return rebase(name_, numbered(o.onto), o.safe); },
                        [&](const Pull& o) -> Done {
                          return pull(of_chain(o.image)->name, o.base == 0 ? nullptr : of_chain(o.base));
                        },
                        [&](const RemoveLayer& o) -> Done {
                          const Layer& layer = *of_chain(o.which);
                          const auto* below = layer.below ? &layers[*layer.below] : nullptr;
                          Done done;
                          if (!o.upwards) done = commit(name_, layer.name, below->name);
                          if (o.upwards)
                            for (const auto overlay : model.overlays_of(chain[o.which]))
                              if (done) done = pull(layers[overlay].name, below);
                          if (!done) return done;
                          files_.erase(layer.name);
                          files_.erase(layer.data_file);
                          return done;
                        },
                        [](const auto&) -> Done { return {}; },
                    },
                    operation);
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
          [&](const auto&) -> Done {
            if (auto done = d.close(); !done) return done;
            top_.reset();
            warned_ = false;
            const auto done = on_tree(operation, model);
            return done ? open() : done;
          },
      },
      operation);
}

}  // namespace cowvet::model
